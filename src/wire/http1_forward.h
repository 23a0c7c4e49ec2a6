// Heads as an intermediary sends them on (RFC 9110 7.6): what concerns one connection only is left out, and a request
// says in Host exactly what was judged.
#pragma once

#include <string>
#include <string_view>

#include "wire/http1_head.h"
#include "wire/http1_response.h"

namespace weir::wire {

// `raw`: the head that RequestStream has parsed into `head`, whose target is in absolute form. The result has the
// target in origin form, one Host, and no field that starts with Proxy-.
std::string forward_request(std::string_view raw, const RequestHead& head);

enum class Persistence : std::uint8_t { keep, close };

// `raw`: the head that ResponseStream has parsed. `persistence` is what becomes of the connection to the client.
std::string forward_response(std::string_view raw, Persistence persistence);

}  // namespace weir::wire
