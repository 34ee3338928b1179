/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vfio-user server side. See vfio_user.h. The message layout is that of the vfio-user specification
 * and of Linux's <linux/vfio.h>, whose structures travel in the messages.
 */
#include "tests/model/server/vfio_user.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/model/server/journal.h"

enum command {
    CMD_VERSION = 1,
    CMD_DMA_MAP,
    CMD_DMA_UNMAP,
    CMD_GET_INFO,
    CMD_GET_REGION_INFO,
    CMD_GET_REGION_IO_FDS,
    CMD_GET_IRQ_INFO,
    CMD_SET_IRQS,
    CMD_REGION_READ,
    CMD_REGION_WRITE,
    CMD_DMA_READ,
    CMD_DMA_WRITE,
    CMD_RESET,
    CMD_DIRTY_PAGES,
    CMD_REGION_WRITE_MULTI,
    CMD_COUNT,
};

enum { FLAG_TYPE = 0xf, FLAG_REPLY = 1, FLAG_NO_REPLY = 0x10, FLAG_ERROR = 0x20 };

struct header {
    uint16_t id, command;
    uint32_t size, flags, error;
};

struct dma_map { /* and unmap, which has no offset */
    uint32_t argsz, flags;
    uint64_t offset, addr, size;
};
struct dma_unmap {
    uint32_t argsz, flags;
    uint64_t addr, size;
};
struct region_access {
    uint64_t offset;
    uint32_t region, count;
};
struct dma_access { /* count has 64 bits: QEMU 11.1 refuses the 32 of some older sources */
    uint64_t offset, count;
};
struct write_one {
    uint64_t offset;
    uint32_t region, count;
    uint8_t data[8];
};

#define REPLY_MAX (VFIO_USER_MESSAGE_MAX - sizeof(struct header))

/* A request that is being served, and its answer. */
struct call {
    struct vfio_user *v;
    const uint8_t *body;
    size_t len;
    uint8_t *reply;
    size_t reply_len;
};

static void emit(struct vfio_user *v, const void *data, size_t len)
{
    if (v->out_len + len > v->out_room) {
        v->out_room = 2 * (v->out_len + len);
        v->out = realloc(v->out, v->out_room);
        if (!v->out)
            abort();
    }
    memcpy(v->out + v->out_len, data, len);
    v->out_len += len;
}

static int answer(struct call *c, const void *data, size_t len)
{
    memcpy(c->reply, data, len);
    c->reply_len = len;
    return 0;
}

static int do_version(struct call *c)
{
    static const char capabilities[] =
        "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":65536,"
        "\"pgsizes\":4096,\"write_multiple\":true}}";
    uint16_t version[2] = { 0, 0 };

    if (c->len < sizeof(version))
        return EINVAL;
    memcpy(version, c->body, sizeof(version));
    if (version[0] != 0)
        return ENOTSUP;
    version[1] = 0;
    memcpy(c->reply, version, sizeof(version));
    memcpy(c->reply + sizeof(version), capabilities, sizeof(capabilities));
    c->reply_len = sizeof(version) + sizeof(capabilities);
    return 0;
}

static int do_dma_map(struct call *c)
{
    struct dma_map map;

    if (c->len < sizeof(map))
        return EINVAL;
    memcpy(&map, c->body, sizeof(map));
    journal_trace("%s map 0x%llx size 0x%llx flags %u%s", c->v->name, (unsigned long long)map.addr,
                  (unsigned long long)map.size, map.flags, c->v->fd_count ? "" : " no descriptor");
    return guest_memory_map(&c->v->memory, map.addr, map.size, c->v->fd_count ? c->v->fds[0] : -1,
                            map.offset, map.flags & VFIO_DMA_MAP_FLAG_WRITE);
}

static int do_dma_unmap(struct call *c)
{
    struct dma_unmap unmap;

    if (c->len < sizeof(unmap))
        return EINVAL;
    memcpy(&unmap, c->body, sizeof(unmap));
    journal_trace("%s unmap 0x%llx size 0x%llx", c->v->name, (unsigned long long)unmap.addr,
                  (unsigned long long)unmap.size);
    if (unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL)
        guest_memory_unmap_all(&c->v->memory);
    else if (!guest_memory_unmap(&c->v->memory, unmap.addr, unmap.size))
        return ENOENT;
    return answer(c, &unmap, sizeof(unmap));
}

static int do_get_info(struct call *c)
{
    const uint32_t info[4] = { sizeof(info), VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
                               VFIO_PCI_NUM_REGIONS, VFIO_PCI_NUM_IRQS };

    return answer(c, info, sizeof(info));
}

static uint64_t region_size(const struct vfio_user *v, uint32_t region)
{
    return region == VFIO_USER_BAR0 ? v->bar0_size : region == VFIO_USER_CONFIG ? 4096 : 0;
}

static int do_get_region_info(struct call *c)
{
    struct vfio_region_info info;

    if (c->len < sizeof(info))
        return EINVAL;
    memcpy(&info, c->body, sizeof(info));
    if (info.index >= VFIO_PCI_NUM_REGIONS)
        return EINVAL;
    info.argsz = sizeof(info);
    info.cap_offset = 0;
    info.offset = 0;
    info.size = region_size(c->v, info.index);
    info.flags = info.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
    return answer(c, &info, sizeof(info));
}

static int do_get_irq_info(struct call *c)
{
    struct vfio_irq_info info;

    if (c->len < sizeof(info))
        return EINVAL;
    memcpy(&info, c->body, sizeof(info));
    if (info.index > VFIO_PCI_MSIX_IRQ_INDEX)
        return EINVAL; /* QEMU warns of an error interrupt that is there but empty */
    info.argsz = sizeof(info);
    info.flags = 0;
    info.count = 0; /* no MSI, MSI-X or INTx: interrupts are memory writes */
    return answer(c, &info, sizeof(info));
}

static int do_nothing(struct call *c)
{
    (void)c;
    return 0;
}

static bool inside(const struct vfio_user *v, const struct region_access *at)
{
    uint64_t size = region_size(v, at->region);

    return at->count > 0 && at->count <= size && at->offset <= size - at->count;
}

static int do_region_read(struct call *c)
{
    struct region_access at;
    struct vfio_user *v = c->v;

    if (c->len < sizeof(at))
        return EINVAL;
    memcpy(&at, c->body, sizeof(at));
    if (!inside(v, &at) || at.count > REPLY_MAX - sizeof(at))
        return EINVAL;
    memcpy(c->reply, &at, sizeof(at));
    for (uint32_t done = 0; done < at.count;) {
        unsigned size = at.count - done < 8 ? at.count - done : 8;
        uint64_t value = v->ops->read(v->ctx, at.region, (uint32_t)at.offset + done, size);

        memcpy(c->reply + sizeof(at) + done, &value, size);
        done += size;
    }
    c->reply_len = sizeof(at) + at.count;
    return 0;
}

static int write_region(struct vfio_user *v, const struct region_access *at, const uint8_t *data)
{
    if (!inside(v, at))
        return EINVAL;
    for (uint32_t done = 0; done < at->count;) {
        unsigned size = at->count - done < 8 ? at->count - done : 8;
        uint64_t value = 0;

        memcpy(&value, data + done, size);
        v->ops->write(v->ctx, at->region, (uint32_t)at->offset + done, size, value);
        done += size;
    }
    return 0;
}

static int do_region_write(struct call *c)
{
    struct region_access at;

    if (c->len < sizeof(at))
        return EINVAL;
    memcpy(&at, c->body, sizeof(at));
    if (at.count != c->len - sizeof(at))
        return EINVAL;
    c->reply_len = sizeof(at);
    memcpy(c->reply, &at, sizeof(at));
    return write_region(c->v, &at, c->body + sizeof(at));
}

static int do_region_write_multi(struct call *c)
{
    uint64_t count;

    if (c->len < sizeof(count))
        return EINVAL;
    memcpy(&count, c->body, sizeof(count));
    if (count > (c->len - sizeof(count)) / sizeof(struct write_one))
        return EINVAL;
    for (uint64_t i = 0; i < count; i++) {
        struct write_one one;

        memcpy(&one, c->body + sizeof(count) + i * sizeof(one), sizeof(one));

        struct region_access at = { one.offset, one.region, one.count };

        if (one.count > sizeof(one.data) || write_region(c->v, &at, one.data) != 0)
            return EINVAL;
    }
    return answer(c, &count, sizeof(count));
}

static int do_reset(struct call *c)
{
    c->v->ops->reset(c->v->ctx);
    return 0;
}

static int (*const handlers[CMD_COUNT])(struct call *c) = {
    [CMD_VERSION] = do_version,
    [CMD_DMA_MAP] = do_dma_map,
    [CMD_DMA_UNMAP] = do_dma_unmap,
    [CMD_GET_INFO] = do_get_info,
    [CMD_GET_REGION_INFO] = do_get_region_info,
    [CMD_GET_IRQ_INFO] = do_get_irq_info,
    [CMD_SET_IRQS] = do_nothing,
    [CMD_REGION_READ] = do_region_read,
    [CMD_REGION_WRITE] = do_region_write,
    [CMD_RESET] = do_reset,
    [CMD_REGION_WRITE_MULTI] = do_region_write_multi,
    /* DMA_READ and DMA_WRITE go the other way; io fds and dirty pages are not offered. */
};

static void serve(struct vfio_user *v)
{
    static uint8_t reply[VFIO_USER_MESSAGE_MAX];
    struct header h;
    struct call c = { .v = v, .body = v->in + sizeof(h), .reply = reply };
    int error;

    memcpy(&h, v->in, sizeof(h));
    c.len = h.size - sizeof(h);

    if ((h.flags & FLAG_TYPE) == FLAG_REPLY) {
        if (h.flags & FLAG_ERROR)
            v->ops->message_failed(v->ctx, (int)h.error);
        return;
    }
    if (h.command < CMD_COUNT && handlers[h.command])
        error = handlers[h.command](&c);
    else
        error = ENOTSUP;
    if (error && h.command != CMD_GET_IRQ_INFO) /* a client may ask for what is not there */
        journal_note("%s: command %u refused, error %d", v->name, h.command, error);
    if (h.flags & FLAG_NO_REPLY)
        return;
    h.flags = FLAG_REPLY | (error ? FLAG_ERROR : 0);
    h.error = (uint32_t)error;
    h.size = (uint32_t)(sizeof(h) + (error ? 0 : c.reply_len));
    emit(v, &h, sizeof(h));
    if (!error)
        emit(v, reply, c.reply_len);
    vfio_user_output(v);
}

static void drop_fds(struct vfio_user *v)
{
    for (unsigned i = 0; i < v->fd_count; i++)
        close(v->fds[i]);
    v->fd_count = 0;
}

static void disconnect(struct vfio_user *v)
{
    if (v->client < 0)
        return;
    journal_trace("%s disconnected", v->name);
    close(v->client);
    v->client = -1;
    drop_fds(v);
    guest_memory_unmap_all(&v->memory);
    v->in_len = v->out_len = 0;
    v->ops->disconnected(v->ctx);
}

/* Up to `want` bytes to the end of the input buffer, with descriptors. 0: later; < 0: it is over.
 */
static ssize_t receive(struct vfio_user *v, size_t want)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(VFIO_USER_FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = { v->in + v->in_len, want };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    ssize_t got = recvmsg(v->client, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (got == 0)
        return -1;
    for (struct cmsghdr *cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm)) {
        if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
            if (v->fd_count < VFIO_USER_FDS_MAX)
                v->fds[v->fd_count++] = fd;
            else
                close(fd);
        }
    }
    v->in_len += (size_t)got;
    return got;
}

/*
 * A message at a time, its header first and alone: descriptors come with the bytes they were sent
 * with, so those that arrive belong to this message.
 */
void vfio_user_input(struct vfio_user *v)
{
    while (v->client >= 0) {
        struct header h = { .size = sizeof(h) };

        if (v->in_len >= sizeof(h)) {
            memcpy(&h, v->in, sizeof(h));
            if (h.size < sizeof(h) || h.size > sizeof(v->in)) {
                journal_note("%s: message of %u bytes, closing", v->name, h.size);
                disconnect(v);
                return;
            }
        }
        if (v->in_len < sizeof(h) || v->in_len < h.size) {
            ssize_t got = receive(v, h.size - v->in_len);

            if (got == 0)
                return;
            if (got < 0)
                disconnect(v);
            continue;
        }
        serve(v);
        v->in_len = 0;
        drop_fds(v);
    }
}

void vfio_user_output(struct vfio_user *v)
{
    while (v->client >= 0 && v->out_len > 0) {
        ssize_t sent = send(v->client, v->out, v->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (sent < 0) {
            v->out_len = 0; /* the client is gone: input will see the end and disconnect */
            return;
        }
        v->out_len -= (size_t)sent;
        memmove(v->out, v->out + sent, v->out_len);
    }
}

bool vfio_user_wants_output(const struct vfio_user *v)
{
    return v->client >= 0 && v->out_len > 0;
}

void vfio_user_dma_write(struct vfio_user *v, uint64_t addr, const void *data, uint32_t len)
{
    struct dma_access at = { addr, len };
    struct header h = { .id = v->next_id++,
                        .command = CMD_DMA_WRITE,
                        .size = (uint32_t)(sizeof(h) + sizeof(at) + len) };

    if (v->client < 0)
        return;
    emit(v, &h, sizeof(h));
    emit(v, &at, sizeof(at));
    emit(v, data, len);
}

int vfio_user_listen(struct vfio_user *v)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    v->listener = v->client = -1;
    if (strlen(v->path) >= sizeof(addr.sun_path))
        return ENAMETOOLONG;
    strcpy(addr.sun_path, v->path);
    unlink(v->path);
    v->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (v->listener < 0 || bind(v->listener, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        listen(v->listener, 1) != 0)
        return errno;
    return 0;
}

void vfio_user_accept(struct vfio_user *v)
{
    int fd = accept4(v->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (v->client >= 0)
        vfio_user_input(v); /* the old client may be gone already */
    if (v->client >= 0) {
        journal_note("%s: a second client was sent away", v->name);
        close(fd);
        return;
    }
    journal_trace("%s connected", v->name);
    v->client = fd;
    v->served = true;
}

void vfio_user_close(struct vfio_user *v)
{
    disconnect(v);
    if (v->listener >= 0) {
        close(v->listener);
        unlink(v->path);
    }
    free(v->out);
    v->out = NULL;
    v->listener = -1;
}
