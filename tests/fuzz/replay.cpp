// SPDX-License-Identifier: Apache-2.0
// The decoders without libFuzzer, for the other compiler and its sanitizers: every file of the
// corpus, every good example, and so many changes of each, the same ones each time.
//   replay_decoders CORPUS ROUNDS [DECODER]   ROUNDS changes of each file,
//   fewer where one costs more
// A crash leaves what caused it in decoder.NAME.bin, where it was called.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "decoders.h"

using namespace lamina::fuzz;

namespace {

std::vector<Bytes> read_corpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry);
  std::sort(files.begin(), files.end());
  std::vector<Bytes> out;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto bytes = std::as_bytes(std::span(text));
    out.emplace_back(bytes.begin(), bytes.end());
  }
  return out;
}

// One to four places of it get values at which decoders break, or are cut out or doubled.
void change(Bytes& bytes, const Bytes& other, std::mt19937_64& random) {
  constexpr unsigned char edges[] = {0, 1, 0x7f, 0x80, 0xff};
  for (uint64_t left = 1 + random() % 4; left > 0 && !bytes.empty(); --left) {
    const size_t at = random() % bytes.size();
    const size_t count = std::min<size_t>(1 + random() % 8, bytes.size() - at);
    const auto here = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto behind = here + static_cast<std::ptrdiff_t>(count);
    switch (random() % 6) {
      case 0:
        bytes[at] ^= static_cast<std::byte>(1u << random() % 8);
        break;
      case 1:
        std::fill(here, behind, static_cast<std::byte>(edges[random() % std::size(edges)]));
        break;
      case 2:
        for (size_t i = 0; i < count; ++i) bytes[at + i] = static_cast<std::byte>(random());
        break;
      case 3:
        bytes.erase(here, behind);
        break;
      case 4: {
        const Bytes piece(here, behind);
        bytes.insert(here, piece.begin(), piece.end());
        break;
      }
      default:
        for (size_t i = at; i < std::min(at + 4 * count, other.size()) && i < bytes.size(); ++i)
          bytes[i] = other[i];
    }
  }
}

void keep(const std::string& file, const Bytes& bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
}

// Says before each what is tried, where a crash can be looked up: memory that survives is enough.
Bytes current;
std::string current_file;
void on_crash() {
  keep(current_file, current);
  std::fprintf(stderr, "what was decoded is in %s\n", current_file.c_str());
}

void replay(const Decoder& decoder, const std::filesystem::path& corpus, unsigned rounds) {
  std::vector<Bytes> inputs = decoder.samples();
  const std::vector<Bytes> kept = read_corpus(corpus / decoder.name);
  inputs.insert(inputs.end(), kept.begin(), kept.end());
  current_file = std::string("decoder.") + decoder.name + ".bin";
  std::mt19937_64 random(4711);
  for (const Bytes& input : inputs)
    for (unsigned round = 0; round <= rounds; ++round) {
      current = input;
      if (round > 0) change(current, inputs[random() % inputs.size()], random);
      decoder.decode(current);
    }
  std::printf("%-16s %4zu inputs, %6zu decoded\n", decoder.name, inputs.size(),
              inputs.size() * (rounds + 1));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: replay_decoders CORPUS ROUNDS [DECODER]\n");
    return 2;
  }
  // The checks abort; ASan and UBSan do where they are told to (abort_on_error).
  std::signal(SIGABRT, [](int) { on_crash(); });
  std::signal(SIGSEGV, [](int) {
    on_crash();
    std::_Exit(1);
  });
  bool any = false;
  for (const Decoder& decoder : all_decoders()) {
    if (argc == 4 && std::string(argv[3]) != decoder.name) continue;
    any = true;
    const auto rounds = static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10));
    replay(decoder, argv[1], rounds / decoder.costs);
  }
  if (!any) std::fprintf(stderr, "replay_decoders: no decoder is called %s\n", argv[3]);
  return any ? 0 : 2;
}
