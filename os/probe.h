// OS_PROBE: places that a tracer can look at (USDT: bpftrace(8), perf(1), gdb(1)).
//
// A probe is an instruction that does nothing until somebody attaches to it; its arguments are
// where they are anyway. Where the header of Debian's systemtap-sdt-dev is missing when the library
// is built, there are none. The probes of each library are listed in its man page.
//
// Each stands in a function of its own, marked OS_PROBE_FUNCTION: the note that tells tracers where
// it is refers to the code around it, and a linker that leaves out what nobody calls would be left
// with a note about nothing, which is an error. A probe costs a call then: not for a hit.

#ifndef OS_PROBE_H_
#define OS_PROBE_H_

#define OS_PROBE_FUNCTION [[gnu::noinline, gnu::used, gnu::retain]]

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define OS_PROBE1(provider, name, a) DTRACE_PROBE1(provider, name, a)
#define OS_PROBE2(provider, name, a, b) DTRACE_PROBE2(provider, name, a, b)
#define OS_PROBE3(provider, name, a, b, c) DTRACE_PROBE3(provider, name, a, b, c)
#else
#define OS_PROBE1(provider, name, a) static_cast<void>(a)
#define OS_PROBE2(provider, name, a, b) (static_cast<void>(a), static_cast<void>(b))
#define OS_PROBE3(provider, name, a, b, c) \
  (static_cast<void>(a), static_cast<void>(b), static_cast<void>(c))
#endif

#endif  // OS_PROBE_H_
