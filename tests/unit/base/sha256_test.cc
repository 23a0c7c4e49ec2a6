// Vectors of FIPS 180-4 and its validation suite.
#include "base/sha256.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

struct Vector {
  std::string text;
  const char* digest;
};

TEST(Sha256, Vectors) {
  const std::vector<Vector> vectors = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
  for (const Vector& vector : vectors) EXPECT_EQ(sha256_hex(as_bytes(vector.text)), vector.digest);
}

TEST(Sha256, PiecesGiveWhatTheWholeGives) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i);
  const std::string whole = sha256_hex(as_bytes(text));
  for (std::size_t size = 1; size < 140; ++size) {
    Sha256 hash;
    for (std::size_t at = 0; at < text.size(); at += size) hash.update(as_bytes(text.substr(at, size)));
    EXPECT_EQ(hash.finish(), whole) << size;
  }
}

}  // namespace
}  // namespace weir
