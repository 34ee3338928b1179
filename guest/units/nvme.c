/* SPDX-License-Identifier: BSD-2-Clause */
/* An NVMe disk with one pair of IO queues, polled: identify, write a page, read it back. Each
 * completion raises entry 0 of MSI-X, if that is on. */
#include <string.h>

#include "guest/lib/pci.h"
#include "guest/lib/runtime.h"
#include "guest/units/source.h"

enum { /* registers, in dwords */
       CC = 5,
       CSTS = 7,
       AQA = 9,
       ASQ = 10,
       ACQ = 12,
       DOORBELLS = 0x1000 / 4,
       ENTRIES = 16,
       BLOCK = 512,
       ENTRY = 0, /* of MSI-X */
};
enum { CREATE_SQ = 1, CREATE_CQ = 5, IDENTIFY = 6, WRITE = 1, READ = 2 };

struct command {
    uint32_t opcode_id, namespace;
    uint64_t reserved, metadata, data[2];
    uint32_t args[6];
};
struct completion {
    uint32_t result, reserved;
    uint16_t head, queue, id, status; /* status 0: phase */
};

static struct queue {
    struct command *sq;
    volatile struct completion *cq;
    unsigned tail, head, phase;
} queue[2];
static volatile uint32_t *bar;
static uint8_t *page; /* for identify, and for IO that nobody looks at */
static unsigned ready_wanted, waiting;
static bool can_transfer;

static bool ready(void)
{
    return (bar[CSTS] & 1) == ready_wanted;
}

static bool completed(void)
{
    const struct queue *q = &queue[waiting];
    return (q->cq[q->head].status & 1) == q->phase;
}

/* One command; true: status 0. */
static bool run(unsigned n, const struct command *c)
{
    struct queue *q = &queue[n];

    q->sq[q->tail] = *c;
    q->tail = (q->tail + 1) % ENTRIES;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bar[DOORBELLS + 2 * n] = q->tail;
    waiting = n;
    if (!wait_for(completed, 500000))
        return false;
    uint16_t status = q->cq[q->head].status;
    q->head = (q->head + 1) % ENTRIES;
    q->phase ^= q->head == 0;
    bar[DOORBELLS + 2 * n + 1] = q->head;
    return status >> 1 == 0;
}

static bool enable(bool on)
{
    ready_wanted = on;
    bar[CC] = on ? 4u << 20 | 6u << 16 | 1 : 0; /* entries of 16 and 64 bytes */
    return wait_for(ready, 2000000);
}

static void queue_fresh(struct queue *q)
{
    if (!q->sq) {
        q->sq = pages_new(1);
        q->cq = pages_new(1);
    }
    memset((void *)q->cq, 0, 4096);
    q->tail = q->head = 0;
    q->phase = 1;
}

static bool open(uint32_t rid)
{
    bar = (volatile uint32_t *)pci_enable_bar(rid, 0);
    can_transfer = false;
    if (!enable(false))
        return false;
    queue_fresh(&queue[0]);
    queue_fresh(&queue[1]);
    if (!page)
        page = pages_new(1);
    bar[AQA] = (ENTRIES - 1) << 16 | (ENTRIES - 1);
    bar[ASQ] = (uint32_t)(uint64_t)queue[0].sq;
    bar[ASQ + 1] = 0;
    bar[ACQ] = (uint32_t)(uint64_t)queue[0].cq;
    bar[ACQ + 1] = 0;
    return enable(true);
}

/* The controller's model is "QEMU NVMe Ctrl"; then the IO queues. False while DMA is refused. */
static bool set_up(void)
{
    memset(page, 0, 4096);
    struct command identify = { .opcode_id = IDENTIFY, .data = { (uint64_t)page }, .args = { 1 } };
    if (!run(0, &identify))
        return false;
    if (memcmp(page + 24, "QEMU NVMe", 9))
        return false;
    struct command cq = { .opcode_id = CREATE_CQ,
                          .data = { (uint64_t)queue[1].cq },
                          .args = { (ENTRIES - 1) << 16 | 1, ENTRY << 16 | 3 } };
    struct command sq = { .opcode_id = CREATE_SQ,
                          .data = { (uint64_t)queue[1].sq },
                          .args = { (ENTRIES - 1) << 16 | 1, 1 << 16 | 1 } };
    return run(0, &cq) && run(0, &sq);
}

static bool transfer(unsigned opcode, uint64_t address)
{
    struct command c = {
        .opcode_id = opcode, .namespace = 1, .data = { address }, .args = { 8, 0, 4096 / BLOCK - 1 }
    }; /* 8 blocks from block 8 on */
    can_transfer = can_transfer || set_up();
    return can_transfer && run(1, &c);
}

static bool take(uint64_t address)
{
    return transfer(WRITE, address);
}

static bool give(uint64_t address)
{
    return transfer(READ, address);
}

static bool raise(void)
{
    return give((uint64_t)page);
}

static void *used_page(unsigned n)
{
    void *const all[] = { queue[0].sq, (void *)queue[0].cq, queue[1].sq, (void *)queue[1].cq,
                          page };

    return n < sizeof(all) / sizeof(*all) ? all[n] : NULL;
}

const struct source nvme = { .name = "nvme",
                             .id = 0x00101b36,
                             .open = open,
                             .take = take,
                             .give = give,
                             .page = used_page,
                             .messages = MSIX,
                             .raise = raise,
                             .entry = ENTRY };
