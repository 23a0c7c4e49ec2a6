#include "image/streams.h"

#include <lzma.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "image/limits.h"
#include "sys/errno.h"

namespace weir::image {
namespace {

constexpr const char* kDamaged = "fetch or make the archive again: it may be damaged";

std::unexpected<Error> damaged(const std::string& what) {
  return std::unexpected(Error(what).with_remedy(kDamaged));
}

// Input of a decoder, and the proportion of what came out to what went in.
class Decoder : public wire::ByteStream {
 public:
  explicit Decoder(wire::ByteStream& source) : source_(source) {}

  Result<std::size_t> read(MutableBytes into) final {
    WEIR_TRY(const std::size_t made, decode(into));
    made_ += made;
    if (made_ > kFreeExpansion && made_ / kMaxExpansion > taken_) {
      return std::unexpected(
          Error("it expands more than " + std::to_string(kMaxExpansion) + " times: a decompression bomb")
              .with_remedy(
                  "if it is meant to be so large, unpack it yourself and name the folder: weir run --image FOLDER"));
    }
    return made;
  }

 protected:
  virtual Result<std::size_t> decode(MutableBytes into) = 0;

  // False: the source has ended. Only when the input is used up.
  Result<bool> refill() {
    WEIR_TRY(const std::size_t got, source_.read(buffer_));
    taken_ += got;
    input_ = Bytes(buffer_).first(got);
    return got > 0;
  }
  void used(std::size_t count) { input_ = input_.subspan(count); }

  Bytes input_;

 private:
  wire::ByteStream& source_;
  std::array<std::uint8_t, 128 * 1024> buffer_;
  std::uint64_t taken_ = 0;
  std::uint64_t made_ = 0;
};

class GzipDecoder : public Decoder {
 public:
  explicit GzipDecoder(wire::ByteStream& source) : Decoder(source) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    WEIR_ASSERT(::inflateInit2(&state_, kGzipOnly) == Z_OK);
  }
  ~GzipDecoder() override { ::inflateEnd(&state_); }

 private:
  Result<std::size_t> decode(MutableBytes into) override {
    state_.next_out = into.data();
    state_.avail_out = static_cast<uInt>(into.size());
    while (state_.avail_out == into.size()) {
      if (input_.empty()) {
        WEIR_TRY(const bool more, refill());
        if (!more && between_) return std::size_t{0};
        if (!more) return damaged("the gzip data ends too early");
      }
      if (between_) {
        ::inflateReset(&state_);
        between_ = false;
      }
      state_.next_in = const_cast<Bytef*>(input_.data());
      state_.avail_in = static_cast<uInt>(input_.size());
      const int code = ::inflate(&state_, Z_NO_FLUSH);
      used(input_.size() - state_.avail_in);
      if (code == Z_STREAM_END) {
        between_ = true;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return damaged("the gzip data is wrong, or something follows it");
      }
    }
    return into.size() - state_.avail_out;
  }

  z_stream state_{};
  bool between_ = false;  // members
};

class ZstdDecoder : public Decoder {
 public:
  explicit ZstdDecoder(wire::ByteStream& source) : Decoder(source), state_(::ZSTD_createDStream()) {
    WEIR_ASSERT(state_ != nullptr);
    constexpr int kWindowLog = 27;  // 128 MiB, what zstd --long=27 makes and every decoder takes
    ::ZSTD_DCtx_setParameter(state_, ZSTD_d_windowLogMax, kWindowLog);
  }
  ~ZstdDecoder() override { ::ZSTD_freeDStream(state_); }

 private:
  Result<std::size_t> decode(MutableBytes into) override {
    ZSTD_outBuffer out{.dst = into.data(), .size = into.size(), .pos = 0};
    while (out.pos == 0) {
      if (input_.empty()) {
        WEIR_TRY(const bool more, refill());
        if (!more && between_) return std::size_t{0};
        if (!more) return damaged("the zstd data ends too early");
      }
      ZSTD_inBuffer in{.src = input_.data(), .size = input_.size(), .pos = 0};
      const std::size_t code = ::ZSTD_decompressStream(state_, &out, &in);
      used(in.pos);
      if (::ZSTD_isError(code) != 0) {
        return damaged(std::string("the zstd data is wrong, or something follows it: ") + ::ZSTD_getErrorName(code));
      }
      between_ = code == 0;
    }
    return out.pos;
  }

  ZSTD_DStream* state_;
  bool between_ = true;  // frames
};

class XzDecoder : public Decoder {
 public:
  explicit XzDecoder(wire::ByteStream& source) : Decoder(source) {
    WEIR_ASSERT(::lzma_stream_decoder(&state_, kMaxDecoderMemory, LZMA_CONCATENATED) == LZMA_OK);
  }
  ~XzDecoder() override { ::lzma_end(&state_); }

 private:
  Result<std::size_t> decode(MutableBytes into) override {
    state_.next_out = into.data();
    state_.avail_out = into.size();
    while (state_.avail_out == into.size() && !ended_) {
      if (input_.empty() && action_ == LZMA_RUN) {
        WEIR_TRY(const bool more, refill());
        if (!more) action_ = LZMA_FINISH;
      }
      state_.next_in = input_.data();
      state_.avail_in = input_.size();
      const lzma_ret code = ::lzma_code(&state_, action_);
      used(input_.size() - state_.avail_in);
      if (code == LZMA_STREAM_END) {
        ended_ = true;
      } else if (code == LZMA_MEMLIMIT_ERROR) {
        return std::unexpected(
            Error("the xz data needs more memory than " + std::to_string(kMaxDecoderMemory >> 20) + " MiB to unpack")
                .with_remedy("compress it again with xz -9 or less"));
      } else if (code != LZMA_OK) {
        return damaged("the xz data is wrong, ends too early, or something follows it");
      }
    }
    return into.size() - state_.avail_out;
  }

  lzma_stream state_ = LZMA_STREAM_INIT;
  lzma_action action_ = LZMA_RUN;
  bool ended_ = false;
};

// Gives back what was read to find out what it is.
class Rewound : public wire::ByteStream {
 public:
  Rewound(wire::ByteStream& source, Bytes first) : source_(source), size_(first.size()) {
    std::ranges::copy(first, first_.begin());
  }
  Result<std::size_t> read(MutableBytes into) override {
    if (given_ == size_) return source_.read(into);
    const std::size_t count = std::min(into.size(), size_ - given_);
    std::copy_n(first_.begin() + static_cast<std::ptrdiff_t>(given_), count, into.begin());
    given_ += count;
    return count;
  }

 private:
  wire::ByteStream& source_;
  std::array<std::uint8_t, 6> first_{};
  std::size_t size_;
  std::size_t given_ = 0;
};

// A decoder and what it reads from.
template <class Decoder>
class Behind : public wire::ByteStream {
 public:
  Behind(wire::ByteStream& source, Bytes first) : rewound_(source, first), decoder_(rewound_) {}
  Result<std::size_t> read(MutableBytes into) override { return decoder_.read(into); }

 private:
  Rewound rewound_;
  Decoder decoder_;
};

}  // namespace

Result<std::size_t> FileStream::read(MutableBytes into) {
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left_, into.size()));
  if (wanted == 0) return std::size_t{0};
  ssize_t got = 0;
  do {
    got = ::pread(fd_, into.data(), wanted, static_cast<off_t>(offset_));
  } while (got < 0 && errno == EINTR);
  if (got < 0) return sys::errno_error("cannot read it");
  offset_ += static_cast<std::uint64_t>(got);
  left_ -= static_cast<std::uint64_t>(got);
  return static_cast<std::size_t>(got);
}

Result<std::size_t> HashingStream::read(MutableBytes into) {
  WEIR_TRY(const std::size_t got, source_.read(into));
  hash_.update(into.first(got));
  size_ += got;
  return got;
}

Result<std::string> HashingStream::finish() {
  std::array<std::uint8_t, 64 * 1024> buffer;
  while (true) {
    WEIR_TRY(const std::size_t got, read(buffer));
    if (got == 0) return hash_.finish();
  }
}

Result<std::unique_ptr<wire::ByteStream>> decompressed(wire::ByteStream& source) {
  std::array<std::uint8_t, 6> buffer{};
  std::size_t have = 0;
  while (have < buffer.size()) {
    WEIR_TRY(const std::size_t got, source.read(MutableBytes(buffer).subspan(have)));
    if (got == 0) break;
    have += got;
  }
  const Bytes first = Bytes(buffer).first(have);
  const std::string_view magic = as_text(first);
  std::unique_ptr<wire::ByteStream> stream;
  // RFC 1952; RFC 8878, a frame or a skippable one; the .xz format.
  if (magic.starts_with("\x1f\x8b")) {
    stream = std::make_unique<Behind<GzipDecoder>>(source, first);
  } else if (magic.starts_with("\x28\xb5\x2f\xfd") ||
             (have > 3 && (buffer[0] & 0xf0) == 0x50 && magic.substr(1).starts_with("\x2a\x4d\x18"))) {
    stream = std::make_unique<Behind<ZstdDecoder>>(source, first);
  } else if (magic == std::string_view("\xfd"
                                       "7zXZ\0",
                                       6)) {
    stream = std::make_unique<Behind<XzDecoder>>(source, first);
  } else {
    stream = std::make_unique<Rewound>(source, first);
  }
  return stream;
}

}  // namespace weir::image
