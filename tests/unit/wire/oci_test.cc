#include "wire/oci.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::wire {
namespace {

using ::testing::HasSubstr;

const std::string kHex(64, 'a');
const std::string kBlob = R"({"mediaType":"m","size":7,"digest":"sha256:)" + kHex + R"("})";

template <class T>
std::string why(const Result<T>& result) {
  return result ? "accepted" : result.error().what();
}

TEST(Oci, Index) {
  const auto index = parse_oci_index(R"({"manifests":[{"size":7,"digest":"sha256:)" + kHex +
                                     R"(","platform":{"architecture":"amd64","os":"linux"},)"
                                     R"("annotations":{"org.opencontainers.image.ref.name":"x"}}], "new":[1]})");
  ASSERT_TRUE(index) << why(index);
  ASSERT_EQ(index->size(), 1u);
  EXPECT_EQ(index->front().digest, kHex);
  EXPECT_EQ(index->front().architecture, "amd64");
  EXPECT_EQ(index->front().name, "x");
  EXPECT_FALSE(index->front().attestation);
}

TEST(Oci, Manifest) {
  const auto manifest = parse_oci_manifest(R"({"schemaVersion":2,"config":)" + kBlob + R"(,"layers":[)" + kBlob + "]}");
  ASSERT_TRUE(manifest) << why(manifest);
  EXPECT_EQ(manifest->config.size, 7u);
  EXPECT_EQ(manifest->layers.size(), 1u);
}

TEST(Oci, Config) {
  const auto config =
      parse_oci_config(R"({"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Cmd":["sh","-c"],)"
                       R"("Entrypoint":null,"WorkingDir":"/w","User":"5"},"rootfs":{"type":"layers",)"
                       R"("diff_ids":["sha256:)" +
                       kHex + R"("]}})");
  ASSERT_TRUE(config) << why(config);
  EXPECT_EQ(config->env, std::vector<std::string>{"A=1"});
  EXPECT_EQ(config->command, (std::vector<std::string>{"sh", "-c"}));
  EXPECT_TRUE(config->entrypoint.empty());
  EXPECT_EQ(config->workdir, "/w");
  EXPECT_EQ(config->diff_ids, std::vector<std::string>{kHex});
}

TEST(Oci, DockerManifests) {
  const auto images = parse_docker_manifests(R"([{"Config":"c.json","RepoTags":["a:b"],"Layers":["l.tar"]}])");
  ASSERT_TRUE(images) << why(images);
  EXPECT_EQ(images->front().config, "c.json");
  EXPECT_EQ(images->front().layers, std::vector<std::string>{"l.tar"});
}

TEST(Oci, Refused) {
  const auto manifest_with = [](const std::string& blob) {
    return why(parse_oci_manifest(R"({"config":)" + blob + R"(,"layers":[]})"));
  };
  EXPECT_EQ(manifest_with(kBlob), "accepted");
  EXPECT_THAT(manifest_with(R"({"size":7,"digest":"sha512:00"})"), HasSubstr("digest"));
  EXPECT_THAT(manifest_with(R"({"size":7,"digest":"sha256:../../etc/passwd"})"), HasSubstr("digest"));
  EXPECT_THAT(manifest_with(R"({"size":7,"digest":"sha256:)" + std::string(64, 'A') + R"("})"), HasSubstr("digest"));
  EXPECT_THAT(manifest_with(R"({"size":-7,"digest":"sha256:)" + kHex + R"("})"), HasSubstr("size"));
  EXPECT_THAT(manifest_with(R"({"size":7.5,"digest":"sha256:)" + kHex + R"("})"), HasSubstr("size"));
  EXPECT_THAT(manifest_with(R"({"digest":"sha256:)" + kHex + R"("})"), HasSubstr("size"));
  EXPECT_THAT(manifest_with(R"({"size":7,"size":8,"digest":"sha256:)" + kHex + R"("})"), HasSubstr("twice"));
  EXPECT_THAT(why(parse_oci_index("{")), HasSubstr("not JSON"));
  EXPECT_THAT(why(parse_oci_index("{} x")), HasSubstr("not JSON"));
  EXPECT_THAT(why(parse_oci_index("[]")), HasSubstr("manifests"));
  EXPECT_THAT(why(parse_oci_index(R"({"manifests":{}})")), HasSubstr("list"));
  EXPECT_THAT(why(parse_oci_index(R"({"manifests":)" + std::string(100, '[') + std::string(100, ']') + "}")),
              HasSubstr("deep"));
  EXPECT_THAT(why(parse_oci_config(R"({"rootfs":{},"config":{"Env":["A\u0000B=1"]}})")), HasSubstr("NUL"));
  EXPECT_THAT(why(parse_oci_config(R"({"rootfs":{},"config":{"Env":[1]}})")), HasSubstr("no text"));
  EXPECT_THAT(why(parse_oci_config("{}")), HasSubstr("rootfs"));
  EXPECT_THAT(why(parse_docker_manifests(R"([{"Layers":[]}])")), HasSubstr("configuration"));
}

}  // namespace
}  // namespace weir::wire
