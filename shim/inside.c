/* Threads inside the library. Go code runs on small stacks, so a handler of the program's must
 * not run there: it waits until the thread is out. The wrapper in signals.c sends the signal
 * once more to the thread itself, with all signals blocked, and raises me.cut, at which the library
 * returns soon; leave() lets them in, and the kernel delivers the signal as if it had come
 * then: with its mask, its restart, and a stack out of which siglongjmp(3) may jump. */
#include "shim.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

_Thread_local struct thread me;

/* Stacks of threads that have ended are used again. */
struct spare { struct spare *next; pid_t owner; };
static struct spare *spares;
static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t ending;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static pid_t thread_id(void) { return (pid_t)real()->syscall(SYS_gettid); }

static bool has_ended(pid_t thread)
{
	return real()->syscall(SYS_tgkill, (long)getpid(), (long)thread, 0L) < 0 && errno == ESRCH;
}

/* The stack may be in use until the thread is gone: its number says when that is. */
static void thread_ends(void *stack)
{
	struct spare *s = stack;

	me.inside = 1;
	while (me.tokens)
		lib.disarm(me.owed[--me.tokens].token, NULL, 0);
	me.inside = 0;
	s->owner = thread_id();
	pthread_mutex_lock(&spares_lock);
	s->next = spares;
	spares = s;
	pthread_mutex_unlock(&spares_lock);
}

static void make_key(void) { pthread_key_create(&ending, thread_ends); }

static void *stack_take(void)
{
	struct spare **p, *s = NULL;
	void *m;

	pthread_mutex_lock(&spares_lock);
	for (p = &spares; *p; p = &(*p)->next) {
		if (has_ended((*p)->owner)) {
			s = *p;
			*p = s->next;
			break;
		}
	}
	pthread_mutex_unlock(&spares_lock);
	if (s)
		return s;
	m = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	return m == MAP_FAILED ? NULL : m;
}

/* Gives a thread that enters the library for the first time a large stack for signals: the Go
 * runtime leaves it then, and would set up one of 32 KiB otherwise. */
void thread_prepare(void)
{
	int saved = errno;
	stack_t st = {.ss_size = SIGNAL_STACK};
	sigset_t all, old;

	pthread_once(&once, make_key);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	st.ss_sp = stack_take();
	/* A thread that runs on a signal stack cannot change it: it is the program's, then. */
	if (st.ss_sp && real()->sigaltstack(&st, &me.wish) == 0) {
		me.stack = st.ss_sp;
		pthread_setspecific(ending, st.ss_sp);
	}
	me.ready = true;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
}

static bool on_signal_stack(const char *p) { return me.stack && p >= me.stack && p < me.stack + SIGNAL_STACK; }

/* Gives back what naps owe that a handler has jumped out of: their frames are below frame. Those
 * of a nap that a handler interrupts, which runs now, are above, or on the other stack. */
void thread_tidy(const char *frame)
{
	struct owed *o;
	bool here = on_signal_stack(frame), there;

	while (me.tokens) {
		o = &me.owed[me.tokens - 1];
		there = on_signal_stack(o->frame);
		if (here == there ? o->frame > frame : here)
			return;
		me.tokens--;
		lib.disarm(o->token, NULL, 0);
	}
}

__attribute__((noinline)) void thread_tidy_here(void) { thread_tidy(__builtin_frame_address(0)); }

void let_signals_in(void)
{
	int saved = errno;

	me.cut = 0;
	pthread_sigmask(SIG_SETMASK, &me.mask, NULL);
	errno = saved;
}

/* The stack for signals stays ours: the program's may be too small for what comes while the
 * thread is inside. The program sees its own. */
EXPORT EARLY int sigaltstack(const stack_t *st, stack_t *old)
{
	stack_t before = me.wish;

	if (!me.stack || me.inside)
		return real()->sigaltstack(st, old);
	if (st && !(st->ss_flags & SS_DISABLE) && st->ss_size < (size_t)MINSIGSTKSZ)
		return fail(-ENOMEM);
	if (on_signal_stack(__builtin_frame_address(0)) && !(before.ss_flags & SS_DISABLE)) {
		if (st)
			return fail(-EPERM);
		before.ss_flags |= SS_ONSTACK;
	}
	if (st)
		me.wish = *st;
	if (old)
		*old = before;
	return 0;
}

struct beginning {
	void *(*f)(void *);
	void *arg;
};

static void *begin(void *p)
{
	struct beginning b = *(struct beginning *)p;

	me.library = true;
	me.inside = 1; /* for good */
	free(p);
	return b.f(b.arg);
}

/* A thread that a thread of the library's makes is the library's too. */
EXPORT EARLY int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*f)(void *), void *arg)
{
	struct beginning *b;
	int code;

	if (!me.inside)
		return real()->pthread_create(t, attr, f, arg);
	b = malloc(sizeof *b);
	if (!b)
		return EAGAIN;
	*b = (struct beginning){f, arg};
	code = real()->pthread_create(t, attr, begin, b);
	if (code)
		free(b);
	return code;
}
