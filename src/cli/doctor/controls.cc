#include <array>

#include "cli/doctor/probe.h"

namespace weir::cli {

std::span<const ProbeGroup> all_probes() {
  static const std::array kGroups = {
      ProbeGroup{"processes", process_probes()}, ProbeGroup{"confinement", confinement_probes()},
      ProbeGroup{"network", network_probes()},   ProbeGroup{"files", file_probes()},
      ProbeGroup{"images", image_probes()},      ProbeGroup{"limits", limit_probes()},
      ProbeGroup{"machine", machine_probes()},
  };
  return kGroups;
}

}  // namespace weir::cli
