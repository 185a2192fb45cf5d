// memory_user: a program that uses memory in a way that is known, for tests of who watches it.
//
//   memory_user lock BYTES   locks so many, and ends when its parent has gone to sleep, or done
//                            nothing, three times since: it has had time to look
//   memory_user fault FILE   takes at least one major fault, reading the file through a mapping;
//                            77: the file system does not let a file leave the page cache
//   memory_user limit        prints RLIMIT_MEMLOCK, soft and hard, in bytes

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {

int Fail(const char* what) {
  std::perror(what);
  return 1;
}

// How often the process has given the processor up by itself.
long SleepsOf(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("voluntary_ctxt_switches:")) return std::atol(&line[24]);
  }
  return -1;
}

int Lock(size_t bytes) {
  std::vector<char> memory(bytes);
  // The address sanitizer's mlock(2) does nothing.
  if (syscall(SYS_mlock, memory.data(), memory.size()) != 0) return Fail("mlock");
  const pid_t parent = getppid();
  const long before = SleepsOf(parent);
  while (before >= 0 && getppid() == parent && SleepsOf(parent) < before + 3) usleep(1000);
  return 0;
}

long MajorFaults() {
  rusage usage = {};
  (void)getrusage(RUSAGE_SELF, &usage);
  return usage.ru_majflt;
}

int Fault(const char* path) {
  const int file = open(path, O_RDONLY);
  if (file < 0) return Fail(path);
  if (fsync(file) != 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) return Fail(path);
  void* mapping = mmap(nullptr, 1, PROT_READ, MAP_SHARED, file, 0);
  if (mapping == MAP_FAILED) return Fail("mmap");
  const long before = MajorFaults();
  (void)*static_cast<volatile char*>(mapping);
  return MajorFaults() > before ? 0 : 77;
}

int PrintLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return Fail("getrlimit");
  std::printf("%llu %llu\n", static_cast<unsigned long long>(limit.rlim_cur),
              static_cast<unsigned long long>(limit.rlim_max));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "lock" && argc == 3) return Lock(static_cast<size_t>(std::atol(argv[2])));
  if (mode == "fault" && argc == 3) return Fault(argv[2]);
  if (mode == "limit") return PrintLimit();
  return 2;
}
