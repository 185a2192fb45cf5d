#include "mpool/metrics.h"

#include <iterator>
#include <string>

namespace mpool {
namespace {

using Stat = struct mpool_stat;

constexpr Metric kMetrics[] = {
    {"gets", "Pages asked for", "", true, &Stat::gets},
    {"hits", "Pages asked for that were in the pool", "", true, &Stat::hits},
    {"misses", "Pages asked for that were not in the pool at once", "", true, &Stat::misses},
    {"news", "Pages made", "", true, &Stat::news},
    {"puts", "Pages put back", "", true, &Stat::puts},
    {"deletes", "Pages deleted", "", true, &Stat::deletes},
    {"page_ins", "Pages read from the file", "", true, &Stat::page_ins},
    {"page_outs", "Pages written to the file", "", true, &Stat::page_outs},
    {"evictions", "Pages that made room for others", "", true, &Stat::evictions},
    {"pins", "Pins held", "", false, &Stat::pins},
    {"dirty", "Dirty pages", "", false, &Stat::dirty},
    {"frames", "Frames, used or free", "", false, &Stat::frames},
    {"frames_locked", "Frames that are locked in memory", "", false, &Stat::frames_locked},
    {"frames_overflow", "Frames beyond the most that are cached, as all others were pinned", "",
     false, &Stat::frames_overflow},
    {"recoveries", "Times that a dead process was cleaned up after", "", true, &Stat::recoveries},
    {"suspects", "Pages that a dead process may have been changing", "", true, &Stat::suspects},
    {"hugetlb", "Memory in huge pages of hugetlbfs", "bytes", false, &Stat::hugetlb_bytes},
    {"waits", "Times that a call has waited for another thread", "", true, &Stat::waits},
    {"syncs", "Calls that synchronise the file", "", true, &Stat::syncs},
    {"prefetched", "Pages read ahead", "", true, &Stat::prefetched},
    {"writer_outs", "Pages written by the background writer", "", true, &Stat::writer_outs},
    {"read_errors", "Pages that could not be read", "", true, &Stat::read_errors},
    {"write_errors", "Pages that could not be written", "", true, &Stat::write_errors},
    {"pin_failures", "Pages that could not be had, as no frame could be", "", true,
     &Stat::pin_failures},
};
static_assert(sizeof(Stat) == std::size(kMetrics) * sizeof(uint64_t), "a number is missing");

// Of the character at the beginning of the text; 0: it is no UTF-8. Precondition: not empty.
size_t LengthOfUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (length == 1) return 1;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool beyond = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return overlong || beyond ? 0 : length;
}

// A label may hold any UTF-8 but these three as they are. What is no UTF-8 becomes a replacement
// character, so that whoever reads the text does not refuse all of it.
std::string LabelOf(std::string_view text) {
  std::string label;
  while (!text.empty()) {
    const size_t length = LengthOfUtf8(text);
    if (text[0] == '\n') {
      label += "\\n";
    } else if (text[0] == '\\' || text[0] == '"') {
      label += '\\';
      label += text[0];
    } else if (length == 0) {
      label += "\xef\xbf\xbd";
    } else {
      label += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return label;
}

}  // namespace

absl::Span<const Metric> Metrics() { return kMetrics; }

std::string OpenMetricsText(absl::Span<const PoolMetrics> pools) {
  std::string text;
  for (const Metric& metric : kMetrics) {
    std::string name = std::string("mpool_") + metric.name;
    const std::string unit = metric.unit;
    if (!unit.empty()) name += "_" + unit;
    text += "# TYPE " + name + (metric.is_counter ? " counter\n" : " gauge\n");
    if (!unit.empty()) text += "# UNIT " + name + " " + unit + "\n";
    text += "# HELP " + name + " " + metric.help + ".\n";
    for (const PoolMetrics& pool : pools) {
      text += name + (metric.is_counter ? "_total" : "") + "{pool=\"" + LabelOf(pool.pool) +
              "\"} " + std::to_string(pool.stats.*metric.field) + "\n";
    }
  }
  return text;
}

}  // namespace mpool
