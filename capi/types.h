/* types.h - pointers to what the library's functions take that is const, which cgo has no
 * word for, under names of their own. */
#ifndef OUTBAND_TYPES_H
#define OUTBAND_TYPES_H

#include "outband.h"

typedef const void *ob_const_void;
typedef const char *ob_const_char;
typedef const struct ob_config *ob_const_config;
typedef const struct sockaddr *ob_const_sockaddr;
typedef const struct msghdr *ob_const_msghdr;
typedef const struct epoll_event *ob_const_epoll_event;
typedef const struct timespec *ob_const_timespec;
typedef const volatile unsigned int *ob_cut_word;

#endif
