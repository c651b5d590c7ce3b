/* The program's handlers, behind a wrapper: see inside.c. They are wrapped from when the
 * library is loaded on; before that, sigaction(2) is libc's. */
#include "shim.h"

#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SIGNALS 64
#define KERNEL_SET 8 /* bytes of the kernel's sigset_t, which is all of it that a ucontext has */
#define SA_RESTORER 0x04000000 /* the kernel's */
#define KEPT 4       /* a handler may still read what was set before */

static struct sigaction kept[SIGNALS + 1][KEPT];
static _Atomic(struct sigaction *) wanted[SIGNALS + 1]; /* NULL: not wrapped */
static unsigned int next_kept[SIGNALS + 1];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sigset_t interrupting; /* by siginterrupt(3) */

static bool is_fault(int sig, const siginfo_t *info)
{
	if (info->si_code <= 0)
		return false;
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGTRAP || sig == SIGSYS;
}

/* Has the thread that the handler interrupts go on with all signals blocked. */
static void block_all(ucontext_t *uc)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGTRAP);
	memcpy(&uc->uc_sigmask, &all, KERNEL_SET);
}

/* Keeps a signal until the thread has left the library. Handlers may interrupt this one at
 * its beginning; the outermost is the last to store the mask, and has the right one. */
static void keep_signal(int sig, siginfo_t *info, ucontext_t *uc)
{
	sigset_t all;

	sigfillset(&all);
	real()->syscall(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, NULL, (long)KERNEL_SET);
	sigemptyset(&me.mask);
	memcpy(&me.mask, &uc->uc_sigmask, KERNEL_SET);
	block_all(uc);
	real()->syscall(SYS_rt_tgsigqueueinfo, (long)getpid(), real()->syscall(SYS_gettid), (long)sig, info);
	me.cut = 1;
}

/* One of the library's threads has got what is the program's. */
static void hand_on(int sig, siginfo_t *info, ucontext_t *uc)
{
	block_all(uc);
	real()->syscall(SYS_rt_tgsigqueueinfo, (long)getpid(), (long)getpid(), (long)sig, info);
}

static void install(int sig, const struct sigaction *act);

/* Stands for SIGUSR1's default where the signal is for the report. */
static void nothing(int sig) { (void)sig; }

static void run(int sig, siginfo_t *info, void *uc)
{
	struct sigaction act = *wanted[sig];
	struct sigaction standard = {.sa_handler = SIG_DFL};

	if (act.sa_flags & (int)SA_RESETHAND)
		install(sig, &standard);
	if (sig == SIGUSR1 && settings.report)
		report();
	me.ran++;
	if (!(act.sa_flags & SA_RESTART))
		me.hard++;
	if (act.sa_flags & SA_SIGINFO)
		act.sa_sigaction(sig, info, uc);
	else
		act.sa_handler(sig);
	me.sleep.tv_sec = 0;
	me.sleep.tv_nsec = 0;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	if (is_fault(sig, info) || (!me.library && !me.inside)) {
		run(sig, info, context);
		return;
	}
	if (me.library)
		hand_on(sig, info, context);
	else
		keep_signal(sig, info, context);
	errno = saved;
}

static bool is_handler(const struct sigaction *act)
{
	return act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN;
}

/* Gives the kernel the wrapper in place of a handler. */
static void install(int sig, const struct sigaction *act)
{
	struct sigaction wrap = *act, *keep;

	if (is_handler(act)) {
		keep = &kept[sig][next_kept[sig]++ % KEPT];
		*keep = *act;
		atomic_store(&wanted[sig], keep);
		wrap.sa_sigaction = on_signal;
		wrap.sa_flags |= SA_SIGINFO | SA_ONSTACK;
		wrap.sa_flags &= ~(int)SA_RESETHAND;
	}
	/* What is not handled any more leaves its old handler in wanted: one may be on its way. */
	real()->sigaction(sig, &wrap, NULL);
}

static void current(int sig, struct sigaction *act)
{
	int restorer;

	if (real()->sigaction(sig, NULL, act) == 0 && act->sa_sigaction == on_signal) {
		restorer = act->sa_flags & SA_RESTORER; /* libc's, which shows */
		*act = *wanted[sig];
		act->sa_flags |= restorer;
	}
	if (act->sa_handler == nothing)
		act->sa_handler = SIG_DFL;
}

EXPORT EARLY int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction before, new;

	if (!lib.floor || me.inside || sig < 1 || sig > SIGNALS || sig == SIGKILL || sig == SIGSTOP)
		return real()->sigaction(sig, act, old);
	if (act)
		new = *act; /* the two may be one */
	enter();
	pthread_mutex_lock(&lock);
	current(sig, &before);
	if (act)
		install(sig, &new);
	pthread_mutex_unlock(&lock);
	leave();
	if (old)
		*old = before;
	return 0;
}

static sighandler_t simple(int sig, sighandler_t f, int flags)
{
	struct sigaction act = {.sa_handler = f, .sa_flags = flags}, old;

	sigemptyset(&act.sa_mask);
	if (!(flags & (int)SA_NODEFER) && sig >= 1 && sig <= SIGNALS)
		sigaddset(&act.sa_mask, sig);
	return sigaction(sig, &act, &old) == 0 ? old.sa_handler : SIG_ERR;
}

static int restarts(int sig) { return sigismember(&interrupting, sig) == 1 ? 0 : SA_RESTART; }

EXPORT EARLY sighandler_t signal(int sig, sighandler_t f) { return simple(sig, f, restarts(sig)); }
EXPORT sighandler_t bsd_signal(int sig, sighandler_t f) { return simple(sig, f, restarts(sig)); }
EXPORT sighandler_t ssignal(int sig, sighandler_t f) { return simple(sig, f, restarts(sig)); }
EXPORT sighandler_t sysv_signal(int sig, sighandler_t f) { return simple(sig, f, (int)(SA_RESETHAND | SA_NODEFER)); }
EXPORT sighandler_t __sysv_signal(int sig, sighandler_t f) { return simple(sig, f, (int)(SA_RESETHAND | SA_NODEFER)); }

EXPORT int siginterrupt(int sig, int flag)
{
	struct sigaction act;

	if (sigaction(sig, NULL, &act) < 0)
		return -1;
	if (flag) {
		sigaddset(&interrupting, sig);
		act.sa_flags &= ~SA_RESTART;
	} else {
		sigdelset(&interrupting, sig);
		act.sa_flags |= SA_RESTART;
	}
	return sigaction(sig, &act, NULL);
}

static struct sigaction before_library[SIGNALS + 1];

/* Signals 32 and 33 are libc's own, which real()->sigaction refuses. */
void signals_save(void)
{
	for (int sig = 1; sig <= SIGNALS; sig++)
		if (real()->sigaction(sig, NULL, &before_library[sig]) < 0)
			before_library[sig].sa_handler = SIG_ERR;
}

/* Takes from the library the signals that its runtime has taken: a process ends by a signal as
 * it would without, and wraps the program's handlers. All signals are blocked. */
void signals_wrap(void)
{
	struct sigaction *act;

	for (int sig = 1; sig <= SIGNALS; sig++) {
		act = &before_library[sig];
		if (act->sa_handler == SIG_ERR || sig == SIGKILL || sig == SIGSTOP)
			continue;
		if (sig == SIGUSR1 && settings.report && act->sa_handler == SIG_DFL)
			*act = (struct sigaction){.sa_handler = nothing, .sa_flags = SA_RESTART};
		if (act->sa_sigaction == on_signal)
			real()->sigaction(sig, act, NULL);
		else
			install(sig, act);
	}
}
