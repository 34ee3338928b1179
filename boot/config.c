/* SPDX-License-Identifier: BSD-2-Clause */
/* The INI reader and the two tables of keys. */
#include "boot/config.h"

#define MIB 0x100000ull

/* A piece of the file. */
struct span {
    const char *at;
    size_t length;
};

struct reader {
    struct config *config;
    struct config_vm *vm; /* NULL inside [hypervisor] */
    uint32_t line;
    bool in_section;
    struct config_error *error;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool equals(struct span s, const char *word)
{
    size_t i = 0;

    while (i < s.length && word[i] && s.at[i] == word[i])
        i++;
    return i == s.length && !word[i];
}

static struct span trim(struct span s)
{
    while (s.length && is_space(s.at[0]))
        s.at++, s.length--;
    while (s.length && is_space(s.at[s.length - 1]))
        s.length--;
    return s;
}

/* Append to the error text; what does not fit is cut. */
static void append(struct config_error *error, const char *text, size_t length)
{
    size_t used = 0;

    while (used < sizeof(error->text) && error->text[used])
        used++;
    for (size_t i = 0; i < length && text[i] && used + 1 < sizeof(error->text); i++) {
        char c = text[i];

        error->text[used++] = (c >= 0x20 && c < 0x7f) ? c : '?';
    }
    error->text[used] = 0;
}

bool config_fail(struct config_error *error, uint32_t line, const char *text, const char *name)
{
    error->line = line;
    error->text[0] = 0;
    append(error, text, sizeof(error->text));
    if (name)
        append(error, name, sizeof(error->text));
    return false;
}

static bool fail(struct reader *r, const char *text, struct span what)
{
    config_fail(r->error, r->line, text, NULL);
    append(r->error, what.at, what.length);
    return false;
}

/* Cut the part of @s before @separator off and return it trimmed; @s keeps the rest. */
static struct span cut(struct span *s, char separator)
{
    struct span head = { s->at, 0 };

    while (head.length < s->length && s->at[head.length] != separator)
        head.length++;
    size_t used = head.length + (head.length < s->length);
    s->at += used;
    s->length -= used;
    return trim(head);
}

/* ---- values ------------------------------------------------------------------------------------
 */

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 255;
}

/* All of @s as a number in @base. */
static bool number(struct span s, unsigned base, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (!s.length)
        return false;
    for (size_t i = 0; i < s.length; i++) {
        unsigned d = (unsigned)digit(s.at[i]);

        if (d >= base || d > max || value > (max - d) / base)
            return false;
        value = value * base + d;
    }
    *out = value;
    return true;
}

/* Decimal or 0x hexadecimal. */
static bool integer(struct span s, uint64_t max, uint64_t *out)
{
    if (s.length > 2 && s.at[0] == '0' && (s.at[1] == 'x' || s.at[1] == 'X'))
        return number((struct span){ s.at + 2, s.length - 2 }, 16, max, out);
    return number(s, 10, max, out);
}

/* An integer with K, M or G. */
static bool size(struct span s, uint64_t *out)
{
    static const struct {
        char letter;
        uint8_t shift;
    } units[] = { { 'K', 10 }, { 'M', 20 }, { 'G', 30 } };
    unsigned shift = 0;

    for (unsigned i = 0; s.length && i < sizeof(units) / sizeof(units[0]); i++) {
        char last = s.at[s.length - 1];

        if (last == units[i].letter || last == units[i].letter + ('a' - 'A')) {
            shift = units[i].shift;
            s.length--;
            break;
        }
    }
    if (!integer(trim(s), (1ull << 52) >> shift, out))
        return false;
    *out <<= shift;
    return true;
}

static bool copy_text(struct reader *r, struct span s, char *out, size_t room)
{
    if (s.length >= room)
        return fail(r, "too long: ", s);
    for (size_t i = 0; i < s.length; i++)
        out[i] = s.at[i];
    out[s.length] = 0;
    return true;
}

static bool parse_size_2m(struct reader *r, struct span value, uint64_t *out)
{
    if (!size(value, out))
        return fail(r, "not a size such as 64M: ", value);
    if (!*out || *out % (2 * MIB))
        return fail(r, "must be a multiple of 2M and not 0: ", value);
    return true;
}

static bool parse_path(struct reader *r, struct span value, struct config_path *out)
{
    if (!copy_text(r, value, out->text, sizeof(out->text)))
        return false;
    for (char *c = out->text; *c; c++)
        if (*c == '/')
            *c = '\\';
    out->line = r->line;
    return true;
}

struct word {
    const char *name;
    uint32_t value;
};

static bool parse_word(struct reader *r, struct span value, const struct word *words,
                       const char *complaint, uint32_t *out)
{
    for (; words->name; words++) {
        if (equals(value, words->name)) {
            *out = words->value;
            return true;
        }
    }
    return fail(r, complaint, value);
}

/* ---- keys of [hypervisor] ----------------------------------------------------------------------
 */

static bool key_image(struct reader *r, struct span value)
{
    return parse_path(r, value, &r->config->image);
}

static bool key_pool(struct reader *r, struct span value)
{
    r->config->memory_line = r->line;
    return parse_size_2m(r, value, &r->config->memory);
}

static bool key_log(struct reader *r, struct span value)
{
    static const struct word words[] = {
        { "error", 0 }, { "warn", 1 }, { "info", 2 }, { "debug", 3 }, { NULL, 0 }
    };
    return parse_word(r, value, words, "log is error, warn, info or debug, not ",
                      &r->config->log_level);
}

static bool key_iommu(struct reader *r, struct span value)
{
    static const struct word words[] = { { "required", BOOT_IOMMU_REQUIRED },
                                         { "optional", BOOT_IOMMU_OPTIONAL },
                                         { NULL, 0 } };
    return parse_word(r, value, words, "iommu is required or optional, not ", &r->config->iommu);
}

static bool key_when_done(struct reader *r, struct span value)
{
    static const struct word words[] = { { "halt", 0 }, { "reboot", 1 }, { NULL, 0 } };

    return parse_word(r, value, words, "when-done is halt or reboot, not ",
                      &r->config->reboot_when_done);
}

static bool key_console(struct reader *r, struct span value)
{
    uint64_t port = 0;

    if (!equals(value, "none") && (!integer(value, 0xfff8, &port) || !port))
        return fail(r, "console is an IO port such as 0x3f8, or none, not ", value);
    r->config->console_port = (uint32_t)port;
    return true;
}

static bool key_deadline(struct reader *r, struct span value)
{
    uint64_t ms;

    if (!integer(value, 60000, &ms) || !ms)
        return fail(r, "page-request-deadline is 1 to 60000 milliseconds, not ", value);
    r->config->deadline_ms = (uint32_t)ms;
    return true;
}

/* ---- keys of a VM ------------------------------------------------------------------------------
 */

/* SIZE, or SIZE @ HOST-ADDRESS. */
static bool key_memory(struct reader *r, struct span value)
{
    struct config_vm *vm = r->vm;
    struct span where = value, amount = cut(&where, '@');

    vm->memory_line = r->line;
    if (!parse_size_2m(r, amount, &vm->memory))
        return false;
    vm->placed = amount.length != value.length;
    if (!vm->placed)
        return true;
    if (!integer(trim(where), 1ull << 52, &vm->memory_base) || vm->memory_base % (2 * MIB))
        return fail(r, "a place in memory is a multiple of 2M such as 0x10000000, not ", where);
    for (const struct config_vm *o = r->config->vm; o < vm; o++)
        if (o->placed && o->memory_base < vm->memory_base + vm->memory &&
            vm->memory_base < o->memory_base + o->memory)
            return config_fail(r->error, r->line, "memory overlaps that of ", o->name);
    return true;
}

static bool add_cpu(struct reader *r, uint64_t cpu, struct span what)
{
    for (const struct config_vm *o = r->config->vm; o <= r->vm; o++)
        for (uint32_t i = 0; i < o->cpus; i++)
            if (o->cpu[i] == cpu)
                return fail(r, "a CPU runs one vCPU only, this one is named twice: ", what);
    if (r->vm->cpus == BOOT_VM_CPUS)
        return fail(r, "more than 16 CPUs: ", what);
    r->vm->cpu[r->vm->cpus++] = (uint32_t)cpu;
    return true;
}

/* A list of N or N-M. */
static bool key_cpus(struct reader *r, struct span value)
{
    r->vm->cpus_line = r->line;
    do {
        struct span rest = cut(&value, ','), item = rest, first = cut(&rest, '-');
        uint64_t low, high;

        if (!integer(first, 255, &low))
            return fail(r, "cpus is a list such as 0,2-3, not ", item);
        high = low;
        if (first.length != item.length && (!integer(trim(rest), 255, &high) || high < low))
            return fail(r, "cpus is a list such as 0,2-3, not ", item);
        for (uint64_t cpu = low; cpu <= high; cpu++)
            if (!add_cpu(r, cpu, item))
                return false;
    } while (value.length);
    return true;
}

/* [0000:]BB:DD.F */
static bool parse_rid(struct span s, uint16_t *rid)
{
    struct span number_of_bus = cut(&s, ':'), device = cut(&s, '.');
    uint64_t segment = 0, bus, dev, fn;

    /* With a segment in front, what was cut at '.' still holds bus and device. */
    struct span rest = device, first = cut(&rest, ':');
    if (first.length != device.length) {
        if (!number(number_of_bus, 16, 0xffff, &segment))
            return false;
        number_of_bus = first;
        device = trim(rest);
    }
    if (segment || !number(number_of_bus, 16, 255, &bus) || !number(device, 16, 31, &dev) ||
        !number(trim(s), 16, 7, &fn))
        return false;
    *rid = (uint16_t)(bus << 8 | dev << 3 | fn);
    return true;
}

/* What may be said of a function, behind it: name=value. The values of one name stand together. */
static const struct pci_option {
    const char *name, *value;
    uint16_t flag; /* boot_pci_flag; 0: as if nothing was said */
} pci_options[] = {
    { "rmrr", "refuse", 0 },
    { "rmrr", "map", BOOT_PCI_MAP_FIRMWARE },
    { "ats", "auto", 0 },
    { "ats", "on", BOOT_PCI_ATS_ON },
    { "ats", "off", BOOT_PCI_ATS_OFF },
    { "interrupts", "remapped", 0 },
    { "interrupts", "any", BOOT_PCI_ANY_INTERRUPT },
};

static bool parse_pci_options(struct reader *r, struct span options, uint16_t *flags)
{
    const struct pci_option *end = pci_options + sizeof(pci_options) / sizeof(*pci_options);
    uint32_t seen = 0;

    while (options.length) {
        struct span word = cut(&options, ' '), value = word, name = cut(&value, '=');
        const struct pci_option *o = pci_options, *first;

        if (!word.length) /* blanks in a row */
            continue;
        while (o < end && !equals(name, o->name))
            o++;
        for (first = o; o < end && equals(name, o->name) && !equals(trim(value), o->value);)
            o++;
        if (o == end || !equals(name, o->name))
            return fail(r, "not an option of a PCI function such as rmrr=map: ", word);
        if (seen & 1u << (first - pci_options))
            return fail(r, "given twice: ", word);
        seen |= 1u << (first - pci_options);
        *flags |= o->flag;
    }
    return true;
}

static bool key_pci(struct reader *r, struct span value)
{
    struct config_vm *vm = r->vm;

    do {
        struct span item = cut(&value, ','), options = item, function = cut(&options, ' ');
        uint16_t rid, flags = 0;

        if (!parse_rid(function, &rid))
            return fail(r, "not a PCI function of segment 0 such as 00:04.0: ", item);
        if (!parse_pci_options(r, options, &flags))
            return false;
        for (const struct config_vm *o = r->config->vm; o <= vm; o++)
            for (uint32_t i = 0; i < o->npci; i++)
                if (o->pci[i].rid == rid)
                    return fail(r, "this PCI function is named twice: ", item);
        if (vm->npci == BOOT_VM_PCI)
            return fail(r, "more than 32 PCI functions: ", item);
        vm->pci[vm->npci++] = (struct boot_pci){ rid, (uint16_t)r->line, flags };
    } while (value.length);
    return true;
}

static bool key_kernel(struct reader *r, struct span value)
{
    return parse_path(r, value, &r->vm->kernel);
}

static bool key_ramdisk(struct reader *r, struct span value)
{
    return parse_path(r, value, &r->vm->ramdisk);
}

static bool key_cmdline(struct reader *r, struct span value)
{
    return copy_text(r, value, r->vm->cmdline, sizeof(r->vm->cmdline));
}

static bool key_table_quota(struct reader *r, struct span value)
{
    uint64_t bytes;

    if (!size(value, &bytes) || bytes < 64 * 4096 || bytes > 1ull << 40 || bytes % 4096)
        return fail(r, "table-quota is a size of at least 256K, a multiple of 4K, not ", value);
    r->vm->table_quota = (uint32_t)(bytes / 4096);
    return true;
}

struct key {
    const char *name;
    bool required;
    bool (*parse)(struct reader *r, struct span value);
};

static const struct key hypervisor_keys[] = {
    { "image", false, key_image },
    { "memory", false, key_pool },
    { "log", false, key_log },
    { "console", false, key_console },
    { "iommu", false, key_iommu },
    { "when-done", false, key_when_done },
    { "page-request-deadline", false, key_deadline },
    { NULL, false, NULL },
};

static const struct key vm_keys[] = {
    { "memory", true, key_memory },
    { "cpus", true, key_cpus },
    { "kernel", true, key_kernel },
    { "ramdisk", false, key_ramdisk },
    { "cmdline", false, key_cmdline },
    { "pci", false, key_pci },
    { "table-quota", false, key_table_quota },
    { NULL, false, NULL },
};

/* ---- lines -------------------------------------------------------------------------------------
 */

static bool section_complete(struct reader *r)
{
    if (!r->vm)
        return true;
    for (const struct key *k = vm_keys; k->name; k++) {
        if (k->required && !(r->vm->seen & 1u << (k - vm_keys))) {
            config_fail(r->error, r->vm->line, "section of ", r->vm->name);
            append(r->error, " lacks ", 8);
            append(r->error, k->name, 32);
            return false;
        }
    }
    return true;
}

static bool start_section(struct reader *r, struct span name)
{
    struct config *c = r->config;

    if (!section_complete(r))
        return false;
    r->in_section = true;
    r->vm = NULL;
    if (equals(name, "hypervisor")) {
        if (c->line || c->nvms)
            return fail(r, "[hypervisor] comes once and first", (struct span){ "", 0 });
        c->line = r->line;
        return true;
    }
    if (!c->line)
        return fail(r, "the file must start with [hypervisor], not ", name);
    if (!name.length)
        return fail(r, "a section needs a name", name);
    for (size_t i = 0; i < name.length; i++) {
        char x = name.at[i];

        if (!((x >= 'a' && x <= 'z') || (x >= '0' && x <= '9') || x == '-' || x == '_'))
            return fail(r, "a VM's name is made of a-z 0-9 - _ only: ", name);
    }
    for (uint32_t i = 0; i < c->nvms; i++)
        if (equals(name, c->vm[i].name))
            return fail(r, "this VM is there already: ", name);
    if (c->nvms == BOOT_VMS_MAX)
        return fail(r, "more than 256 VMs: ", name);
    r->vm = &c->vm[c->nvms];
    if (!copy_text(r, name, r->vm->name, sizeof(r->vm->name)))
        return false;
    c->nvms++;
    r->vm->line = r->line;
    r->vm->table_quota = 1024;
    return true;
}

static bool set_key(struct reader *r, struct span name, struct span value)
{
    const struct key *keys = r->vm ? vm_keys : hypervisor_keys;
    uint32_t *seen = r->vm ? &r->vm->seen : &r->config->seen;

    for (const struct key *k = keys; k->name; k++) {
        if (!equals(name, k->name))
            continue;
        if (*seen & 1u << (k - keys))
            return fail(r, "given twice: ", name);
        if (!value.length)
            return fail(r, "no value for ", name);
        *seen |= 1u << (k - keys);
        return k->parse(r, value);
    }
    fail(r, "unknown key ", name);
    append(r->error, "; known here: ", 16);
    for (const struct key *k = keys; k->name; k++) {
        append(r->error, k->name, 32);
        append(r->error, k[1].name ? ", " : "", 2);
    }
    return false;
}

static bool parse_line(struct reader *r, struct span line)
{
    line = trim(line);
    /* A text cut short by a NUL would pass for what it is not. */
    for (size_t i = 0; i < line.length; i++)
        if ((uint8_t)line.at[i] < 0x20 && !is_space(line.at[i]))
            return fail(r, "a control character; this is a text file: ", line);
    if (!line.length || line.at[0] == '#' || line.at[0] == ';')
        return true;
    if (line.at[0] == '[') {
        if (line.at[line.length - 1] != ']')
            return fail(r, "no ] at the end of the section line ", line);
        return start_section(r, trim((struct span){ line.at + 1, line.length - 2 }));
    }
    struct span value = line, name = cut(&value, '=');
    if (name.at + name.length == line.at + line.length)
        return fail(r, "neither [section] nor key = value: ", line);
    if (!r->in_section)
        return fail(r, "before the first section: ", name);
    return set_key(r, name, trim(value));
}

bool config_parse(const char *text, size_t length, struct config *out, struct config_error *error)
{
    struct reader r = { .config = out, .error = error };
    struct span rest = { text, length };

    out->memory = 32 * MIB;
    out->log_level = 2;
    out->console_port = 0x3f8;
    out->deadline_ms = 1000;
    if (length >= 3 && (uint8_t)text[0] == 0xef && (uint8_t)text[1] == 0xbb &&
        (uint8_t)text[2] == 0xbf) /* a byte order mark that editors leave */
        rest = (struct span){ text + 3, length - 3 };
    while (rest.length) {
        struct span line = rest;

        line.length = 0;
        while (line.length < rest.length && rest.at[line.length] != '\n')
            line.length++;
        size_t used = line.length + (line.length < rest.length);
        rest.at += used;
        rest.length -= used;
        r.line++;
        if (!parse_line(&r, line))
            return false;
    }
    if (!section_complete(&r))
        return false;
    if (!out->nvms)
        return config_fail(error, out->line, "no VM: add a section such as [alpha]", NULL);
    return true;
}
