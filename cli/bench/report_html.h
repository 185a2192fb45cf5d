// The report as one page for a browser: it needs no script, no network and no other file.

#ifndef CLI_BENCH_REPORT_HTML_H_
#define CLI_BENCH_REPORT_HTML_H_

#include <string>

#include "cli/bench/result.h"

namespace cli::bench {

// Well-formed XHTML, in UTF-8. The verdict first; then where it was measured, charts with text
// alternatives, the costs, the outliers, and the command that repeats it. Pure.
std::string ReportHtml(const BenchResult& result);

}  // namespace cli::bench

#endif  // CLI_BENCH_REPORT_HTML_H_
