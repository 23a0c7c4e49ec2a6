#include "policy/text/json_text.h"

namespace weir::policy {

JsonText& JsonText::add_raw(std::string_view key, std::string_view json) {
  separate();
  text_ += json_string(key);
  text_ += ':';
  text_ += json;
  return *this;
}

JsonText& JsonText::push_raw(std::string_view json) {
  separate();
  text_ += json;
  return *this;
}

void JsonText::separate() {
  if (text_.size() > 1) text_ += ',';
}

}  // namespace weir::policy
