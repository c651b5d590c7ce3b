#include "shim.h"
struct sock *revive(struct sock *s, int fd) { (void)fd; return s; }
