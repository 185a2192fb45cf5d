// The file of a shared pool, as each of its processes has it.

#ifndef MPOOL_INTERNAL_SHARED_FILE_H_
#define MPOOL_INTERNAL_SHARED_FILE_H_

#include "mpool/internal/shared_region.h"
#include "os/descriptor.h"
#include "os/result.h"

namespace mpool::internal {

// A descriptor for the region's file. Of a new region that is a copy of `descriptor`, whose file is
// written down for those who come later: errors as of OpenPoolFile. Else the file is opened where
// it was found at first; where it is not there any more, it is that of `descriptor`, if it is the
// same, or one that another participant has open. ESTALE: none of these.
os::Result<os::OwnedDescriptor> OpenSharedFile(SharedRegion& region, int descriptor);

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_SHARED_FILE_H_
