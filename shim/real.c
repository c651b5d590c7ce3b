#include "real.h"

#include <dlfcn.h>

struct real real_calls;

/* A call that libc is too old for stays NULL: no program can have been linked with it. */
EARLY void real_find(void)
{
#define FIND(ret, name, args) *(void **)&real_calls.name = dlsym(RTLD_NEXT, #name);
	REAL_CALLS(FIND)
#undef FIND
	real_calls.found = 1;
}
