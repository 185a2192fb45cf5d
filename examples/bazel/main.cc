// Prints the first line of a file's first page, which is locked in memory meanwhile.
//
//   first_page FILE

#include <cstdio>
#include <iostream>
#include <string_view>

#include "absl/status/status.h"
#include "mpool/page_pool.h"

absl::Status PrintFirstLine(std::FILE* file) {
  auto pool = mpool::PagePool::Open(fileno(file), {.page_size = 512, .pages_max = 4});
  if (!pool.ok()) return pool.status();
  auto page = (*pool)->Get(0);
  if (!page.ok()) return page.status();
  const auto bytes = page->bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::cout << text.substr(0, text.find('\n')) << "\n";
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  std::FILE* file = argc == 2 ? std::fopen(argv[1], "r") : nullptr;
  if (file == nullptr) {
    std::cerr << "usage: first_page FILE\n";
    return 2;
  }
  const absl::Status status = PrintFirstLine(file);
  std::fclose(file);
  if (!status.ok()) std::cerr << "first_page: " << status << "\n";
  return status.ok() ? 0 : 1;
}
