// Segment numbers that the administrator has reserved for applications: /etc/rsm/rsm.segmentid.
//
//   #keyword   appid    baseid    length
//   reserved   SUNWfoo  0x600000  1000
//
// Columns are separated by blanks or tabs; the base is hexadecimal, the length decimal; "reserve" is
// understood too, and empty lines. The variable RSM_SEGMENTID_FILE names another file.

#ifndef RSM_INTERNAL_SEGMENT_CONF_H_
#define RSM_INTERNAL_SEGMENT_CONF_H_

#include <string>

#include "rsm/rsmapi.h"

namespace rsm::internal {

struct SegmentRange {
  rsm_memseg_id_t base = 0;
  uint32_t length = 0;
};

// Of the application. RSMERR_BAD_APPID: it is not there. RSMERR_BAD_CONF: a line is not of that form, or
// its range goes beyond 32 bits; the text says which. `path` is for the text.
int FindSegmentRange(const std::string& text, const std::string& path,
                     const std::string& application, SegmentRange& range);
// The same of the file. RSMERR_BAD_CONF: it cannot be read.
int ReadSegmentRange(const std::string& application, SegmentRange& range);

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_SEGMENT_CONF_H_
