// Everything of the library: sandboxes whose only way out is a gateway that you control.
#pragma once

#include "weir/failure.h"          // IWYU pragma: export
#include "weir/mode.h"             // IWYU pragma: export
#include "weir/sandbox.h"          // IWYU pragma: export
#include "weir/sandbox_builder.h"  // IWYU pragma: export
