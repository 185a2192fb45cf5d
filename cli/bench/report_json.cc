#include "cli/bench/report_json.h"

namespace cli::bench {
namespace {

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json EnvironmentJson(const Environment& environment) {
  return {{"version", environment.version},
          {"date", environment.date},
          {"kernel", TextOrNull(environment.kernel)},
          {"cpu", TextOrNull(environment.cpu)},
          {"cpus", environment.cpus},
          {"memory_bytes", environment.memory_bytes},
          {"swap_bytes", environment.swap_bytes},
          {"swap_free_bytes", environment.swap_free_bytes},
          {"cgroup", TextOrNull(environment.cgroup)},
          {"cgroup_limit_bytes", OrNull(environment.cgroup_limit_bytes)},
          {"lock_limit_bytes", OrNull(environment.lock_limit_bytes)},
          {"lock_privilege", environment.lock_privilege},
          {"transparent_huge_pages", TextOrNull(environment.thp)}};
}

Json LatencyJson(const Histogram& latency) {
  Json buckets = Json::array();
  for (const Histogram::Bucket& bucket : latency.Buckets()) {
    buckets.push_back({bucket.last, bucket.count});
  }
  return {{"mean_ns", latency.mean()},
          {"p50_ns", latency.Percentile(0.5)},
          {"p90_ns", latency.Percentile(0.9)},
          {"p99_ns", latency.Percentile(0.99)},
          {"p99_9_ns", latency.Percentile(0.999)},
          {"p99_99_ns", latency.Percentile(0.9999)},
          {"max_ns", latency.max()},
          {"buckets", std::move(buckets)}};
}

Json OutliersJson(const OutlierLog& outliers) {
  Json worst = Json::array();
  for (const SlowTouch& touch : outliers.Worst()) {
    worst.push_back({{"at_ns", touch.at_ns},
                     {"ns", touch.ns},
                     {"page", touch.page},
                     {"major_faults", touch.major},
                     {"minor_faults", touch.minor},
                     {"run_queue_ns", touch.run_queue_ns},
                     {"cause", CauseName(CauseOf(touch))}});
  }
  Json causes = Json::object();
  for (const Cause cause :
       {Cause::kMajorFault, Cause::kMinorFault, Cause::kRunQueue, Cause::kOther}) {
    causes[std::string(CauseName(cause))] = outliers.count(cause);
  }
  return {{"count", outliers.count()}, {"causes", std::move(causes)}, {"worst", std::move(worst)}};
}

Json SlicesJson(const std::vector<Slice>& slices) {
  Json array = Json::array();
  for (const Slice& slice : slices) {
    array.push_back({{"at_ns", slice.at_ns},
                     {"ns", slice.ns},
                     {"touches", slice.touches},
                     {"p99_ns", slice.p99_ns},
                     {"max_ns", slice.max_ns},
                     {"cpu_ns", slice.cpu_ns},
                     {"major_faults", slice.faults.major},
                     {"minor_faults", slice.faults.minor}});
  }
  return array;
}

Json ModeJson(const ModeResult& mode) {
  return {{"mode", ModeName(mode.mode)},
          {"touches", mode.latency.count()},
          {"major_faults", mode.faults.major},
          {"minor_faults", mode.faults.minor},
          {"latency", LatencyJson(mode.latency)},
          {"cpu_ns", mode.cpu_ns},
          {"locked_bytes", mode.locked_bytes},
          {"memory_bytes", mode.memory_bytes},
          {"page_outs_refused", mode.page_outs_refused},
          {"page_outs_done", mode.page_outs_done},
          {"present_pages", mode.present_pages},
          {"residency", mode.residency},
          {"pool_misses", OrNull(mode.pool_misses)},
          {"outliers", OutliersJson(mode.outliers)},
          {"slices", SlicesJson(mode.slices)}};
}

}  // namespace

Json ReportJson(const BenchResult& result) {
  Json modes = Json::array();
  for (const ModeResult& mode : result.modes) modes.push_back(ModeJson(mode));
  return {{"schema", "mpool.bench/1"},
          {"verdict", Verdict(result)},
          {"finding", HasFinding(result)},
          {"interrupted", result.interrupted},
          {"environment", EnvironmentJson(result.environment)},
          {"command", TextOrNull(result.command)},
          {"file", TextOrNull(result.file)},
          {"adversary", AdversaryName(result.adversary)},
          {"pressure_bytes", result.pressure_bytes},
          {"pressure_died", result.pressure_died},
          {"private_cgroup", result.private_cgroup},
          {"working_set_bytes", result.working_set_bytes()},
          {"page_bytes", result.page_bytes},
          {"duration_ns", result.duration_ns},
          {"slice_ns", result.slice_ns},
          {"outlier_ns", result.outlier_ns},
          {"clock_ns", result.clock_ns},
          {"notes", result.notes},
          {"modes", std::move(modes)}};
}

}  // namespace cli::bench
