// Pause: lets others have what this thread would take again at once.
//
// A thread that locks memory step by step takes and leaves the kernel's latch on the address space
// in between, but so quickly that a thread which waits for it seldom gets it. After a pause it does.

#ifndef OS_PAUSE_H_
#define OS_PAUSE_H_

namespace os {

// Sleeps for the shortest time that the kernel knows, some ten microseconds.
void Pause();

}  // namespace os

#endif  // OS_PAUSE_H_
