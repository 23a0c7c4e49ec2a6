#include <sys/stat.h>

#include "base/failure_line.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/image_input.h"
#include "cli/run_files.h"

namespace weir::cli {
namespace {

std::string padded(std::string text, std::size_t width) {
  text.append(text.size() < width ? width - text.size() : 1, ' ');
  return text;
}

std::string size_text(std::uint64_t bytes) {
  return bytes < (1u << 20) ? std::to_string((bytes + 1023) >> 10) + " KiB" : std::to_string(bytes >> 20) + " MiB";
}

void image_object(JsonWriter& json, const image::Description& image) {
  json.begin_object()
      .field("name", std::string_view(image.name))
      .field("format", std::string_view(image.format))
      .field("digest", std::string_view(image.digest))
      .field("created", std::string_view(image.created))
      .field("bytes", image.tally.bytes)
      .field("entries", image.tally.entries)
      .field("owners", image.owners == image::Owners::all ? "all" : "one");
  json.key("remarks").begin_array();
  for (const std::string& line : image::remarks(image)) json.value(std::string_view(line));
  json.end_array().end_object();
}

// The last part of the path, without what says how it is packed.
std::string name_from(const std::string& source) {
  std::string name = source.substr(source.rfind('/') + 1);
  for (const char* ending : {".gz", ".zst", ".xz", ".tgz", ".tar", ".oci"}) {
    if (name.ends_with(ending)) name.resize(name.size() - std::string_view(ending).size());
  }
  return name;
}

std::string notes(const image::Store& store) {
  std::string text;
  for (const std::string& line : store.leftovers()) text += "weir: " + printable(line) + "\n";
  return text;
}

Result<Outcome> import(const CommandLine& line, const Caller& caller, OutputFormat format) {
  WEIR_TRY(const std::string source, image_source(line.operands[0], caller));
  const std::string name = line.operands.size() > 1 ? line.operands[1] : name_from(source);
  if (!image::is_image_name(name)) {
    return std::unexpected(Error("'" + name + "' is no name of an image")
                               .with_remedy("write 1 to 63 letters, digits, '_', '.', ':' or '-' behind the source"));
  }
  WEIR_TRY(const image::Source::Kind kind, kind_of_source(line.operands[0], source, sharer_of(line, caller)));
  WEIR_TRY(image::Store store, image_store(caller));
  WEIR_TRY(const image::Description image, store.import(source, kind, name));
  Outcome outcome;
  if (format == OutputFormat::json) {
    JsonWriter json;
    image_object(json, image);
    outcome.out = json.take() + "\n";
    return outcome;
  }
  for (const std::string& remark : image::remarks(image)) outcome.err += "weir: " + printable(remark) + "\n";
  outcome.err += notes(store);
  outcome.out = "imported " + printable(name) + " (" + printable(image.format) + ", " +
                (image.digest.empty() ? "" : printable(image.digest) + ", ") + std::to_string(image.tally.entries) +
                " entries, " + size_text(image.tally.bytes) + ")\n";
  return outcome;
}

Result<Outcome> list(const Caller& caller, OutputFormat format) {
  WEIR_TRY(image::Store store, image_store(caller));
  WEIR_TRY(const std::vector<image::Description> images, store.list());
  Outcome outcome;
  outcome.err = notes(store);
  if (format == OutputFormat::json) {
    JsonWriter json;
    json.begin_array();
    for (const image::Description& image : images) image_object(json, image);
    json.end_array();
    outcome.out = json.take() + "\n";
    return outcome;
  }
  if (images.empty()) outcome.err += "weir: no images; weir image import FILE NAME makes one\n";
  for (const image::Description& image : images) {
    outcome.out += padded(printable(image.name), 24) +
                   padded(image.digest.empty() ? "-" : printable(image.digest.substr(0, 19)), 21) +
                   padded(size_text(image.tally.bytes), 10) + padded(printable(image.format), 15) +
                   printable(image.created) + "\n";
  }
  return outcome;
}

}  // namespace

Result<Outcome> image_command(const CommandLine& line, const Caller& caller) {
  WEIR_TRY(const OutputFormat format, output_format(line));
  if (line.command == CommandId::image_import) return import(line, caller, format);
  if (line.command == CommandId::image_ls) return list(caller, format);
  WEIR_TRY(image::Store store, image_store(caller));
  WEIR_CHECK_OK(store.remove(line.operands[0]));
  Outcome outcome;
  outcome.err = notes(store);
  return outcome;
}

}  // namespace weir::cli
