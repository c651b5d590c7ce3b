/* Loading the library. */
#include "shim.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

struct library lib;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define FLOOR 16384 /* of the library's descriptors, if the limit allows */
#define ROOM 4096   /* for them */

static struct rlimit shown; /* the limit of descriptors as the program is to see it */

/* Makes room for the library's descriptors above those that the program may have. */
static void make_room(void)
{
	struct rlimit r;

	if (real()->getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	shown = r;
	if (r.rlim_max >= FLOOR + ROOM) {
		lib.floor = r.rlim_cur > FLOOR && r.rlim_cur + ROOM <= r.rlim_max ? (int)r.rlim_cur : FLOOR;
		r.rlim_cur = (rlim_t)lib.floor + ROOM;
	} else {
		r.rlim_cur = r.rlim_max;
		lib.floor = (int)(r.rlim_max - r.rlim_max / 4);
	}
	if (shown.rlim_cur > (rlim_t)lib.floor)
		shown.rlim_cur = (rlim_t)lib.floor;
	real()->setrlimit(RLIMIT_NOFILE, &r);
}

/* Lies beside the shim unless OUTBAND_LIBRARY says where. */
static const char *library_path(char *buf, size_t n)
{
	Dl_info info;
	const char *slash;

	if (settings.library)
		return settings.library;
	if (!dladdr((void *)library_start, &info) || !(slash = strrchr(info.dli_fname, '/')))
		return "liboutband.so";
	snprintf(buf, n, "%.*s/liboutband.so", (int)(slash - info.dli_fname), info.dli_fname);
	return buf;
}

/* A copy of the file is another library to the dynamic linker: its runtime begins anew. */
static int copy_file(void)
{
	int fd = memfd_create("liboutband.so", MFD_CLOEXEC);
	off_t at = 0;

	while (fd >= 0 && real()->sendfile(fd, lib.file, &at, 1 << 30) > 0)
		;
	return fd;
}

static void *open_library(const char *path)
{
	char copied[32];
	int fd;
	void *h;

	if (!lib.copy) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		lib.file = fd < 0 ? -1 : real()->fcntl(fd, F_DUPFD_CLOEXEC, lib.floor);
		/* Programs close stderr before the report is made. */
		lib.terminal = real()->fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, lib.floor);
		if (fd >= 0)
			real()->close(fd);
		return dlopen(path, RTLD_NOW | RTLD_LOCAL);
	}
	fd = copy_file();
	snprintf(copied, sizeof copied, "/proc/self/fd/%d", fd);
	h = dlopen(copied, RTLD_NOW | RTLD_LOCAL);
	real()->close(fd);
	return h;
}

static bool load(const char *path)
{
	void *h = open_library(path);

	if (!h) {
		say("all sockets stay in-band: %s", dlerror());
		return false;
	}
#define LOAD(name) \
	if (!(*(void **)&lib.name = dlsym(h, "ob_" #name))) { \
		say("all sockets stay in-band: %s", dlerror()); \
		return false; \
	}
	LIBRARY_CALLS(LOAD)
#undef LOAD
	*(void **)&lib.holder = dlsym(h, "ob_holder");
	*(void **)&lib.adopt = dlsym(h, "ob_adopt");
	return true;
}

static bool open_stack(void)
{
	struct ob_config c = {
		.size = sizeof c,
		.device = settings.device,
		.address = settings.address,
		.gateway = settings.gateway,
		.spin = settings.spin,
		.fd_floor = lib.floor,
	};
	char why[256];
	int code = lib.start(&c);

	if (code >= 0)
		return true;
	lib.error(why, sizeof why);
	say("all sockets stay in-band: %s", why);
	return false;
}

void signals_save(void);

/* The library's threads inherit that all signals are blocked. Its runtime raises the limit of descriptors. */
static bool start(const char *path)
{
	sigset_t all, old;
	struct rlimit r;
	bool ok;

	if (lib.copy)
		unmap_rings(); /* before there are this process's own */
	lib.own = settings.address != NULL;
	lib.always = settings.spin == OB_SPIN_ALWAYS;
	thread_prepare();
	make_room();
	real()->getrlimit(RLIMIT_NOFILE, &r);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	me.inside++;
	signals_save();
	ok = load(path) && open_stack();
	signals_wrap();
	real()->setrlimit(RLIMIT_NOFILE, &r);
	lib.state = ok ? 1 : -1;
	me.inside--;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ok)
		fork_begins();
	return ok;
}

/* The library's descriptors are closed, but for those that the shim has opened. */
void library_forget(void)
{
	int last = lib.file > lib.terminal ? lib.file : lib.terminal;

	lib.state = 0;
	lib.copy = true;
	pthread_mutex_init(&lock, NULL);
	if (lib.floor)
		real()->close_range((unsigned int)(last >= lib.floor ? last + 1 : lib.floor), ~0u, 0);
}

bool library_start(void)
{
	char buf[PATH_MAX];
	int saved = errno;

	if (lib.state == 0) {
		pthread_mutex_lock(&lock);
		if (lib.state == 0)
			start(library_path(buf, sizeof buf));
		pthread_mutex_unlock(&lock);
	}
	errno = saved;
	return lib.state == 1;
}

/* The limit of descriptors, as the program knows it: what lies above is the library's. */

EXPORT EARLY int getrlimit(__rlimit_resource_t what, struct rlimit *r)
{
	int code = real()->getrlimit(what, r);

	if (code == 0 && what == RLIMIT_NOFILE && lib.floor && !me.inside)
		r->rlim_cur = shown.rlim_cur;
	return code;
}

EXPORT EARLY int setrlimit(__rlimit_resource_t what, const struct rlimit *r)
{
	if (what != RLIMIT_NOFILE || !lib.floor || me.inside)
		return real()->setrlimit(what, r);
	if (r->rlim_cur > r->rlim_max)
		return fail(-EINVAL);
	/* More than the floor the program does not get while the library is there. */
	shown.rlim_cur = r->rlim_cur < (rlim_t)lib.floor ? r->rlim_cur : (rlim_t)lib.floor;
	return 0;
}

EXPORT EARLY int prlimit(pid_t pid, enum __rlimit_resource what, const struct rlimit *r, struct rlimit *old)
{
	if (what != RLIMIT_NOFILE || !lib.floor || me.inside || (pid && pid != getpid()))
		return real()->prlimit(pid, what, r, old);
	if (old && getrlimit(what, old) < 0)
		return -1;
	return r ? setrlimit(what, r) : 0;
}
