/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server's side of the vfio-user protocol (version 0.0) for one PCI function: a listening UNIX
 * socket and at most one client at a time. Nothing here ever waits: input is taken as it comes,
 * output is queued when the socket is full, and replies to our own messages are collected later.
 * (A client that waits for an MMIO answer does not serve our messages.)
 */
#ifndef TESTS_MODEL_SERVER_VFIO_USER_H
#define TESTS_MODEL_SERVER_VFIO_USER_H

#include "tests/model/server/guest_memory.h"

enum {
    VFIO_USER_BAR0 = 0, /* region numbers */
    VFIO_USER_CONFIG = 7,
    VFIO_USER_MESSAGE_MAX = 68 * 1024,
    VFIO_USER_FDS_MAX = 8,
};

struct vfio_user_ops {
    /* size 1 to 8. Out of the region never gets here. */
    uint64_t (*read)(void *ctx, unsigned region, uint32_t offset, unsigned size);
    void (*write)(void *ctx, unsigned region, uint32_t offset, unsigned size, uint64_t value);
    void (*reset)(void *ctx);
    void (*disconnected)(void *ctx);
    void (*message_failed)(void *ctx, int error); /* the client refused a vfio_user_dma_write */
};

struct vfio_user {
    const char *name, *path;
    const struct vfio_user_ops *ops;
    void *ctx;
    uint32_t bar0_size;

    int listener, client; /* -1: none */
    bool served;          /* a client has been here */
    struct guest_memory memory;
    uint16_t next_id;

    uint8_t in[VFIO_USER_MESSAGE_MAX];
    size_t in_len;
    int fds[VFIO_USER_FDS_MAX];
    unsigned fd_count;
    uint8_t *out;
    size_t out_len, out_room;
};

/* name, path, ops, ctx, bar0_size are set by the caller. 0, or an errno value. */
int vfio_user_listen(struct vfio_user *v);
void vfio_user_close(struct vfio_user *v);
void vfio_user_accept(struct vfio_user *v); /* a second client is sent away */
void vfio_user_input(struct vfio_user *v);
void vfio_user_output(struct vfio_user *v);
bool vfio_user_wants_output(const struct vfio_user *v);
/* A message of our own: write to an address of the client, such as an interrupt. */
void vfio_user_dma_write(struct vfio_user *v, uint64_t addr, const void *data, uint32_t len);

#endif
