// How much one image may be. Whatever reaches a limit is refused as a whole, with the limit in the message.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::image {

// Files, folders and links of all layers together. Large distributions with every desktop have about 300,000.
inline constexpr std::uint64_t kMaxEntries = 500'000;
// Content of all files of all layers.
inline constexpr std::uint64_t kMaxBytes = std::uint64_t{32} << 30;
// The same as a value: tests lower it.
struct Limits {
  std::uint64_t entries = kMaxEntries;
  std::uint64_t bytes = kMaxBytes;
};
// What a decompressor may make of its input: beyond the first GiB, 100 times as much. Program files shrink to a third;
// only bombs shrink to a hundredth.
inline constexpr std::uint64_t kFreeExpansion = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kMaxExpansion = 100;
// Layers of one image: docker's own limit is 127.
inline constexpr std::size_t kMaxLayers = 127;
// Index, manifest and configuration. Registries refuse manifests above 4 MiB.
inline constexpr std::size_t kMaxDocument = 4 * 1024 * 1024;
// Members of an archive that holds an OCI layout.
inline constexpr std::size_t kMaxArchiveMembers = 10'000;
// What a decompressor may take for its window.
inline constexpr std::uint64_t kMaxDecoderMemory = std::uint64_t{256} << 20;
// The address space of the process that unpacks: decoder, names seen, buffers.
inline constexpr std::uint64_t kMaxMemory = std::uint64_t{1} << 30;
// Seconds of processor time for one image: 32 GiB of xz need a quarter of it on a slow machine.
inline constexpr std::uint64_t kMaxCpuSeconds = 3600;

}  // namespace weir::image
