// What fork(2) means for segments.

#ifndef RSM_INTERNAL_PROCESS_H_
#define RSM_INTERNAL_PROCESS_H_

namespace rsm::internal {

// Has fork(3) leave children whole and without the parent's sockets; once. False: there is no memory.
// What clone(2) makes is not noticed.
bool PrepareForForks();

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_PROCESS_H_
