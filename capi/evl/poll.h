/* evl/poll.h - libevl's header of that name: all is in outband/evl.h. */
#include <outband/evl.h>
