/* A disk that fails when it is told to: preloaded into one process, for one database.
 *
 * The calls by which SQLite writes go through here: open, write, pwrite, ftruncate, fsync,
 * fdatasync. Files are known by the name under which they are opened: the database
 * (FAULTS_DATABASE, a name without folders), its -wal, and others whose names begin with the
 * database's. The -shm is mapped memory and no part of the disk. All else passes untouched.
 *
 * What is to fail stands in a small file (FAULTS_CONTROL) that the test and this process both
 * map: a change holds for the next call. faults.py is the other side; the two agree on `struct
 * control`. Without these two variables nothing happens at all.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAIN = 1, WAL = 2, OTHER = 4 }; /* kinds of files */

/* Eight bytes each, in the order of _Control in faults.py. */
struct control {
    int64_t files;          /* to which of MAIN, WAL and OTHER the faults apply */
    int64_t write_errno;    /* of write, pwrite and ftruncate; 0: none */
    int64_t fsync_errno;    /* of fsync and fdatasync, which then do nothing */
    int64_t open_errno;     /* of an open that could write or create */
    int64_t after;          /* so many calls that one of these three would fail pass before */
    int64_t fsync_delay_ms; /* before each fsync and fdatasync */
    int64_t budget;         /* bytes by which the files may still grow, then ENOSPC; -1: any number */
    int64_t injected;       /* calls that were failed, cut short or delayed */
    int64_t wal_inode;      /* whose synced bytes are told */
    int64_t wal_synced;     /* so many bytes of it an fsync has confirmed */
    int64_t times;          /* so many calls fail with an errno, then none; 0: all, -1: they have */
};

#define FILES_MAX 65536
static unsigned char kinds[FILES_MAX]; /* by file descriptor */
static struct control *control;
static char database[256];

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

/* The C library's own, looked up once. */
#define REAL(name)                                       \
    ({                                                   \
        static __typeof__(&name) found;                  \
        if (!found) found = next(#name);                 \
        found;                                           \
    })

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL"), *name = getenv("FAULTS_DATABASE");
    if (!path || !name || strlen(name) >= sizeof database) return;
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) abort(); /* a test that thinks its faults are there and has none proves nothing */
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REAL(close)(fd);
    if (mapped == MAP_FAILED) abort();
    strcpy(database, name);
    control = mapped;
}

static int64_t get(int64_t *field) { return __atomic_load_n(field, __ATOMIC_SEQ_CST); }
static void put(int64_t *field, int64_t value) { __atomic_store_n(field, value, __ATOMIC_SEQ_CST); }

static void count_one(void) { __atomic_add_fetch(&control->injected, 1, __ATOMIC_SEQ_CST); }

static int fail(int64_t number) {
    count_one();
    errno = (int)number;
    return -1;
}

static int kind_of(int fd) { return control && fd >= 0 && fd < FILES_MAX ? kinds[fd] : 0; }
static int chosen(int fd) { return kind_of(fd) & (control ? get(&control->files) : 0); }

static int kind_named(const char *path) {
    if (!control || !path) return 0;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strlen(database);
    if (strncmp(name, database, length)) return 0;
    const char *rest = name + length;
    if (!*rest) return MAIN;
    if (!strcmp(rest, "-wal")) return WAL;
    return strcmp(rest, "-shm") ? OTHER : 0;
}

/* What stands in a -wal when it is first met is on the disk; one that is met again keeps its mark. */
static void meet_wal(int fd) {
    struct stat at;
    if (fstat(fd, &at)) return;
    if (get(&control->wal_inode) != (int64_t)at.st_ino) {
        put(&control->wal_inode, (int64_t)at.st_ino);
        put(&control->wal_synced, at.st_size);
    } else if (get(&control->wal_synced) > at.st_size) {
        put(&control->wal_synced, at.st_size);
    }
}

static int opened(int fd, int kind) {
    if (fd >= 0 && fd < FILES_MAX) {
        kinds[fd] = (unsigned char)kind;
        if (kind == WAL) meet_wal(fd);
    }
    return fd;
}

/* The error with which this call is to fail; 0 where it may pass. */
static int64_t fault(int64_t *number) {
    int64_t due = get(number), times = get(&control->times);
    if (!due || times < 0) return 0;
    if (get(&control->after) > 0) {
        __atomic_sub_fetch(&control->after, 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    if (times > 0) put(&control->times, times > 1 ? times - 1 : -1);
    return due;
}

static int64_t open_fault(int kind, int flags) {
    if (!kind || !(kind & get(&control->files))) return 0;
    int reads = (flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT);
    return reads ? 0 : fault(&control->open_errno);
}

#define MODE(flags)                                   \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {          \
        va_list rest;                                 \
        va_start(rest, flags);                        \
        mode = va_arg(rest, mode_t);                  \
        va_end(rest);                                 \
    }

#define OPEN(name)                                                                \
    int name(const char *path, int flags, ...) {                                  \
        MODE(flags)                                                               \
        int kind = kind_named(path);                                              \
        int64_t number = open_fault(kind, flags);                                 \
        if (number) return fail(number);                                          \
        return opened(REAL(name)(path, flags, mode), kind);                       \
    }

#define OPENAT(name)                                                              \
    int name(int folder, const char *path, int flags, ...) {                      \
        MODE(flags)                                                               \
        int kind = kind_named(path);                                              \
        int64_t number = open_fault(kind, flags);                                 \
        if (number) return fail(number);                                          \
        return opened(REAL(name)(folder, path, flags, mode), kind);               \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    if (kind_of(fd)) kinds[fd] = 0; /* the number may be a socket's next */
    return REAL(close)(fd);
}

/* How many of `count` bytes at `offset` may be written; -1 and errno where none may. */
static ssize_t allowed(int fd, size_t count, off_t offset) {
    if (!chosen(fd)) return (ssize_t)count;
    int64_t number = fault(&control->write_errno);
    if (number) return fail(number);
    int64_t left = get(&control->budget);
    struct stat at;
    if (left < 0 || count == 0 || fstat(fd, &at)) return (ssize_t)count;
    int64_t growth = offset + (int64_t)count - at.st_size;
    if (growth <= 0) return (ssize_t)count; /* a full disk still lets one overwrite */
    if (growth <= left) {
        put(&control->budget, left - growth);
        return (ssize_t)count;
    }
    put(&control->budget, 0);
    int64_t fits = (int64_t)count - (growth - left);
    if (fits <= 0) return fail(ENOSPC);
    count_one();
    return fits;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (!kind_of(fd)) return REAL(write)(fd, bytes, count);
    ssize_t most = allowed(fd, count, lseek(fd, 0, SEEK_CUR));
    return most < 0 ? -1 : REAL(write)(fd, bytes, (size_t)most);
}

#define PWRITE(name)                                                              \
    ssize_t name(int fd, const void *bytes, size_t count, off_t offset) {         \
        ssize_t most = kind_of(fd) ? allowed(fd, count, offset) : (ssize_t)count; \
        return most < 0 ? -1 : REAL(name)(fd, bytes, (size_t)most, offset);       \
    }

PWRITE(pwrite)
PWRITE(pwrite64)

/* A full disk (ENOSPC) lets one cut a file; one that fails otherwise does not. */
#define FTRUNCATE(name)                                                           \
    int name(int fd, off_t length) {                                              \
        if (chosen(fd) && get(&control->write_errno) != ENOSPC) {                 \
            int64_t number = fault(&control->write_errno);                        \
            if (number) return fail(number);                                      \
        }                                                                         \
        int result = REAL(name)(fd, length);                                      \
        if (!result && kind_of(fd) == WAL) meet_wal(fd);                          \
        return result;                                                            \
    }

FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

/* In short naps, so that a fault that is taken back ends the wait as well. */
static void delay(void) {
    struct timespec now, began, nap = {0, 1000000};
    if (get(&control->fsync_delay_ms) <= 0) return;
    count_one();
    clock_gettime(CLOCK_MONOTONIC, &began);
    do {
        nanosleep(&nap, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 <
             get(&control->fsync_delay_ms));
}

static int synced(int fd, int (*sync)(int)) {
    if (chosen(fd)) {
        delay();
        int64_t number = fault(&control->fsync_errno);
        if (number) return fail(number);
    }
    struct stat before; /* what is written while it runs may miss it */
    int is_wal = kind_of(fd) == WAL && !fstat(fd, &before);
    int result = sync(fd);
    if (!result && is_wal) put(&control->wal_synced, before.st_size);
    return result;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }
