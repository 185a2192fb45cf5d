// The style sheet of the report.

#ifndef CLI_BENCH_REPORT_STYLE_H_
#define CLI_BENCH_REPORT_STYLE_H_

namespace cli::bench {

// For an XHTML element: no less-than sign and no ampersand. The colours of the modes can be told
// apart by the colour-blind, and as text on their ground have a contrast of 4.5 at least.
extern const char kReportStyle[];

}  // namespace cli::bench

#endif  // CLI_BENCH_REPORT_STYLE_H_
