// An image of the fakes: the source of a kernel file after a line that marks it and contains its options. g++ compiles it to a
// shared library, once for each text; the results are kept in FAKE_FOLDER.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

static const std::string fake_mark = "// fakecuda image ";

static std::string fake_read(const std::string &path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

static std::string fake_hash(const std::string &text) {
  uint64_t h[2] = {1469598103934665603ull, 1099511628211ull};
  for (unsigned char c : text)
    for (uint64_t &x : h) x = (x ^ c) * 1099511628211ull + (x >> 60);
  char name[40];
  snprintf(name, sizeof name, "%016llx%016llx", (unsigned long long)h[0], (unsigned long long)h[1]);
  return name;
}

static bool fake_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* The word that ends before `at`. */
static std::string fake_word_before(const std::string &text, size_t at) {
  while (at > 0 && isspace((unsigned char)text[at - 1])) at--;
  size_t end = at;
  while (at > 0 && fake_word(text[at - 1])) at--;
  return text.substr(at, end - at);
}

/* Names of the __global__ functions of a preprocessed source. */
static std::vector<std::string> fake_kernel_names(const std::string &text) {
  std::vector<std::string> names;
  for (size_t at = text.find("__global__"); at != std::string::npos; at = text.find("__global__", at + 1)) {
    size_t open = text.find('(', at);
    while (open != std::string::npos && fake_word_before(text, open) == "__launch_bounds__") {
      size_t close = text.find(')', open);
      open = text.find('(', close);
    }
    if (open != std::string::npos) names.push_back(fake_word_before(text, open));
  }
  return names;
}

/* `extern __shared__ T name[];` becomes a pointer to the block's dynamic shared memory. */
static void fake_replace_dynamic(std::string &text) {
  static const std::string words = "extern __shared__";
  for (size_t at = text.find(words); at != std::string::npos; at = text.find(words, at)) {
    size_t end = text.find(';', at), bracket = text.find('[', at);
    std::string name = fake_word_before(text, bracket);
    size_t name_at = text.rfind(name, bracket);
    std::string type = text.substr(at + words.size(), name_at - at - words.size());
    size_t align = type.find("__align__");
    if (align != std::string::npos) type.erase(align, type.find(')', align) + 1 - align);
    text.replace(at, end - at, type + "*" + name + " = (" + type + "*)fake->dynamic");
  }
}

/* Removes a PTX header from the text, whose files begin with `#line 1 "name"`: ptx.h and ptx_hopper.h replace its functions.
 * Returns whether it was found. */
static bool fake_remove(std::string &text, const std::string &name) {
  size_t begin = text.find("#line 1 \"" + name + "\"");
  if (begin == std::string::npos) return false;
  text.erase(begin, text.find("\n#line ", begin) + 1 - begin);
  return true;
}

/* Runs a compiler and stores its output in `log`. */
static bool fake_run(const std::string &command, const std::string &log_path, std::string &log) {
  int status = system((command + " 2>" + log_path).c_str());
  log += fake_read(log_path);
  unlink(log_path.c_str());
  return status == 0;
}

/* The architecture of an image's options, as "sm_90a" or "compute_90". */
static std::string fake_architecture(const std::string &image) {
  static const std::string option = "--gpu-architecture=";
  size_t at = image.find(option), end = image.find('\n');
  if (at == std::string::npos || at > end) return "";
  at += option.size();
  return image.substr(at, image.find_first_of(" \n", at) - at);
}

/* Builds the shared library of an image; false: it does not compile, and `log` has the errors. */
static bool fake_compile(const std::string &image, std::string &library, std::string &log) {
  std::string base = std::string(FAKE_FOLDER) + "/" + fake_hash(image);
  library = base + ".so";
  struct stat info;
  if (stat(library.c_str(), &info) == 0) return true;

  /* Two threads of a process may compile the same image at once. */
  std::string work = base + "." + std::to_string(syscall(SYS_gettid)), defines;
  std::stringstream options(image.substr(0, image.find('\n')));
  for (std::string word; options >> word;)
    if (word.rfind("-D", 0) == 0) defines += " '" + word + "'";
  std::string source = image.substr(image.find('\n') + 1);
  std::string architecture = fake_architecture(image), number = architecture.substr(architecture.find('_') + 1, 2);
  fake_remove(source, "ptx.cuh");
  if (fake_remove(source, "ptx_hopper.cuh") && architecture != "sm_90a") {
    log += "ptxas error : instructions of sm_90a are not supported on .target " + architecture + "\n";
    return false;
  }
  std::ofstream(work + ".cu") << source;
  std::string command = "g++ -E -x c++ -std=c++17 -nostdinc -D__CUDACC_RTC__ -D__CUDA_ARCH__=" + number + "0" + defines + " " + work + ".cu -o " + work + ".ii";
  bool good = fake_run(command, work + ".log", log);
  if (good) {
    std::string text = fake_read(work + ".ii"), table;
    std::vector<std::string> names = fake_kernel_names(text);
    bool cooperative = false;
    for (const char *word : {"__syncthreads", "__syncwarp", "__shfl", "__ballot_sync", "__any_sync", "__all_sync", "copy_async", "load_matrices", "multiply_bf16", "multiply_tf32", "barrier_wait", "products_wait"})
      cooperative |= text.find(word) != std::string::npos;
    fake_replace_dynamic(text);
    for (const std::string &name : names) table += "FakeExport<&" + name + ">::named(\"" + name + "\"),\n";
    std::ofstream(work + ".ii") << text << "\n# 1 \"exports\"\nstatic const FakeKernel fake_kernels[] = {\n" << table
                                << "{nullptr, 0, nullptr, nullptr}};\n"
                                << "extern \"C\" __attribute__((visibility(\"default\"))) FakeModule fake_module(FakeRuntime *runtime) {\n"
                                << "fake = runtime;\nreturn {fake_kernels, " << names.size() << ", __start_fake_shared, __stop_fake_shared, "
                                << (cooperative ? "true" : "false") << "};\n}\n";
    command = "g++ -O1 -std=c++17 -w -fPIC -shared -ffp-contract=off -fno-strict-aliasing -Wl,-z,defs -I" FAKE_SOURCES
              " -include device.h -x c++ " + work + ".ii -o " + work + ".so -lm";
    good = fake_run(command, work + ".log", log);
  }
  if (good) rename((work + ".so").c_str(), library.c_str());
  for (const char *ending : {".cu", ".ii"}) unlink((work + ending).c_str());
  return good;
}
