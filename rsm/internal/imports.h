// What the functions on import handles share.

#ifndef RSM_INTERNAL_IMPORTS_H_
#define RSM_INTERNAL_IMPORTS_H_

#include "rsm/internal/import_segment.h"

namespace rsm::internal {

// Empty: it is no handle, or the parent's.
ImportTable::Use FindImport(rsm_memseg_import_handle_t memseg);
// RSMERR_BAD_SEG_HNDL with its text.
int FailWithoutImport(rsm_memseg_import_handle_t memseg);

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_IMPORTS_H_
