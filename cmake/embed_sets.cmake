# Turns data/sets/*.toml into one C++ file: cmake -DSETS_DIR=... -DOUTPUT=... -P embed_sets.cmake
# The files keep to a small part of TOML, one key or one host per line, so that this script can read them; a line that it
# does not understand stops the build.
cmake_minimum_required(VERSION 3.25)
file(GLOB files ${SETS_DIR}/*.toml)
list(SORT files)
set(arrays "")
set(rows "")
foreach(file ${files})
  get_filename_component(stem ${file} NAME_WE)
  set(name "")
  set(description "")
  set(uploads "")
  set(hosts "")
  set(in_hosts OFF)
  # A bracket or semicolon would be taken for the syntax of a CMake list: brackets are renamed, semicolons not allowed.
  file(READ ${file} text)
  string(REPLACE "[" "<" text "${text}")
  string(REPLACE "]" ">" text "${text}")
  string(REPLACE ";" "<semicolon>" text "${text}")
  string(REPLACE "\n" ";" lines "${text}")
  foreach(line IN LISTS lines)
    if(line MATCHES "^#" OR line STREQUAL "")
      continue()
    elseif(in_hosts AND line STREQUAL ">")
      set(in_hosts OFF)
    elseif(in_hosts AND line MATCHES "^  \"([-a-z0-9.*_]+)\",$")
      string(APPEND hosts "    \"${CMAKE_MATCH_1}\",\n")
    elseif(line MATCHES "^hosts = <$")
      set(in_hosts ON)
    elseif(line MATCHES "^name        = \"([a-z0-9]+)\"$")
      set(name ${CMAKE_MATCH_1})
    elseif(line MATCHES "^description = \"([^\"\\\\<>]+)\"$")
      set(description "${CMAKE_MATCH_1}")
    elseif(line MATCHES "^uploads     = (true|false)$")
      if(CMAKE_MATCH_1 STREQUAL "true")
        set(uploads "yes")
      else()
        set(uploads "no")
      endif()
    else()
      message(FATAL_ERROR "${file}: cannot read the line: ${line}")
    endif()
  endforeach()
  if(NOT name STREQUAL stem OR description STREQUAL "" OR uploads STREQUAL "" OR hosts STREQUAL "" OR in_hosts)
    message(FATAL_ERROR "${file}: name (equal to the file's), description, uploads and hosts are required")
  endif()
  string(APPEND arrays "constexpr std::string_view kHosts_${name}[] = {\n${hosts}};\n")
  string(APPEND rows "    {\"${name}\", \"${description}\", Uploads::${uploads}, kHosts_${name}},\n")
endforeach()
file(WRITE ${OUTPUT}.new
"// Made from data/sets by cmake/embed_sets.cmake.
#include \"policy/text/sets.h\"

namespace weir::policy {
namespace {
${arrays}
constexpr HostSet kSets[] = {
${rows}};
}  // namespace

std::span<const HostSet> host_sets() { return kSets; }

}  // namespace weir::policy
")
file(COPY_FILE ${OUTPUT}.new ${OUTPUT} ONLY_IF_DIFFERENT)
