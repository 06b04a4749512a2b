/* A Video4Linux camera where there is none: preloaded, it makes any terminal one of 64x48 at 30 fps, whose
   every byte is a picture of that luma. A real terminal can be waited for as a real camera can. A byte of 0
   is a camera that stops: it gives nothing more until it is opened again, and that only once it is closed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 64, HEIGHT = 48, SIZE = WIDTH * HEIGHT * 3 / 2, MOST = 256 };

static unsigned char pictures[MOST][SIZE] __attribute__((aligned(4096)));
static unsigned waiting[MOST], first, behind;
static int is_streaming, has_stopped;

static void set_format(struct v4l2_format *format) {
    format->fmt.pix.width = WIDTH;
    format->fmt.pix.height = HEIGHT;
    format->fmt.pix.pixelformat = V4L2_PIX_FMT_YUV420;
    format->fmt.pix.field = V4L2_FIELD_NONE;
    format->fmt.pix.bytesperline = WIDTH;
    format->fmt.pix.sizeimage = SIZE;
}

static int take(int number, struct v4l2_buffer *buffer) {
    unsigned char luma;
    struct timespec now;
    ssize_t got;
    do {
        got = read(number, &luma, 1);
        has_stopped |= got == 1 && luma == 0;
    } while (got == 1 && has_stopped);
    if (got != 1) {
        errno = got == 0 ? ENODEV : errno;
        return -1;
    }
    buffer->index = waiting[first++ % MOST];
    memset(pictures[buffer->index], luma, WIDTH * HEIGHT);
    memset(pictures[buffer->index] + WIDTH * HEIGHT, 128, SIZE - WIDTH * HEIGHT);
    clock_gettime(CLOCK_MONOTONIC, &now);
    buffer->timestamp.tv_sec = now.tv_sec;
    buffer->timestamp.tv_usec = now.tv_nsec / 1000;
    buffer->bytesused = SIZE;
    buffer->flags = 0;
    return 0;
}

static int answer(int number, unsigned long request, void *about) {
    struct v4l2_buffer *buffer = about;
    switch (request) {
    case VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)about)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_G_INPUT:
        *(int *)about = 0;
        return 0;
    case VIDIOC_S_FMT:
        if (is_streaming) {
            errno = EBUSY;
            return -1;
        }
        /* fall through */
    case VIDIOC_G_FMT:
        set_format(about);
        return 0;
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM:
        ((struct v4l2_streamparm *)about)->parm.capture.timeperframe = (struct v4l2_fract){1, 30};
        return 0;
    case VIDIOC_QUERYBUF:
        buffer->length = SIZE;
        buffer->m.offset = buffer->index * sizeof pictures[0];
        return 0;
    case VIDIOC_QBUF:
        waiting[behind++ % MOST] = buffer->index;
        return 0;
    case VIDIOC_DQBUF:
        return take(number, buffer);
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
        is_streaming = request == VIDIOC_STREAMON;
        has_stopped = 0;
        first = is_streaming ? first : behind;
        return 0;
    case VIDIOC_ENUMINPUT:
    case VIDIOC_REQBUFS:
        return 0;
    }
    errno = EINVAL;
    return -1;
}

int ioctl(int number, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *about = va_arg(rest, void *);
    va_end(rest);
    if (_IOC_TYPE(request) == 'V')
        return answer(number, request, about);
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return real(number, request, about);
}

void *mmap64(void *at, size_t size, int protection, int flags, int number, off64_t offset) {
    static void *(*real)(void *, size_t, int, int, int, off64_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "mmap64");
    if (number >= 0 && size == SIZE && flags == MAP_SHARED && isatty(number))
        return (unsigned char *)pictures + offset;
    return real(at, size, protection, flags, number, offset);
}

void *mmap(void *at, size_t size, int protection, int flags, int number, off_t offset) {
    return mmap64(at, size, protection, flags, number, offset);
}

int munmap(void *at, size_t size) {
    static int (*real)(void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "munmap");
    if ((unsigned char *)at >= pictures[0] && (unsigned char *)at < pictures[MOST])
        return 0;
    return real(at, size);
}
