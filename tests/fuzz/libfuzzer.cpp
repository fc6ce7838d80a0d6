// SPDX-License-Identifier: Apache-2.0
// The decoders under libFuzzer: fuzz_decoders --decoder=slot [libFuzzer's options]
// [FOLDER|FILE...].
// --write-samples=FOLDER writes good examples of that decoder first. tests/fuzz/run is who calls
// it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "decoders.h"

using namespace lamina::fuzz;

namespace {

const Decoder* wanted = nullptr;

std::string value_of(const std::string& argument, const std::string& key) {
  return argument.starts_with(key) ? argument.substr(key.size()) : "";
}

void write_samples(const std::string& folder) {
  size_t number = 0;
  for (const Bytes& sample : wanted->samples()) {
    std::ofstream file(folder + "/good_" + std::to_string(number++), std::ios::binary);
    file.write(reinterpret_cast<const char*>(sample.data()),
               static_cast<std::streamsize>(sample.size()));
  }
}

}  // namespace

// What is compiled for it anew lies in a library as well, of which its twin is linked for the rest.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_odr_violation=0";
}

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  std::string name, samples;
  for (int i = 1; i < *argc; ++i) {
    if (const auto value = value_of((*argv)[i], "--decoder="); !value.empty()) name = value;
    if (const auto value = value_of((*argv)[i], "--write-samples="); !value.empty())
      samples = value;
  }
  wanted = find_decoder(name);
  if (!wanted) {
    std::fprintf(stderr, "fuzz_decoders: say --decoder=NAME, one of:");
    for (const Decoder& decoder : all_decoders()) std::fprintf(stderr, " %s", decoder.name);
    std::fprintf(stderr, "\n");
    std::exit(2);
  }
  if (!samples.empty()) write_samples(samples);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  wanted->decode(std::as_bytes(std::span(data, size)));
  return 0;
}
