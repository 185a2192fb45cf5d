#include "tests/conformance/mpool_after_db.h"
