// What is too slow for JavaScript on an image's way: a JPEG's pixels, by the libjpeg-turbo that is linked into libtensorflow, and the loops of src/data/images/byte-loops.ts, which says what they do.
// An addon of its own, since every worker loads it. images.ts has the functions' types; all arguments are checked, so that nothing outside the arrays is ever touched.
#include <algorithm>
#include <node_api.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <utility>
#include <vector>

namespace tensorflow {
namespace jpeg {

// As in tensorflow/core/lib/jpeg/jpeg_mem.h of 2.18, which the wheels leave out; set-up compares a decoded image before it trusts this.
struct UncompressFlags {
  int ratio = 1;
  int components = 0;
  bool fancy_upscaling = true;
  bool try_recover_truncated_jpeg = false;
  float min_acceptable_fraction = 1.0f;
  int stride = 0;
  int dct_method = 0;  // JDCT_ISLOW, which Pillow and sharp take too
  bool crop = false;
  int crop_x = 0;
  int crop_y = 0;
  int crop_height = 0;
  int crop_width = 0;
};

uint8_t* Uncompress(const void* source, int size, const UncompressFlags& flags, int64_t* warnings,
                    std::function<uint8_t*(int, int, int)> allocate);

}  // namespace jpeg
}  // namespace tensorflow

namespace {

struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

template <typename Element>
bool GetArray(napi_env env, napi_value value, napi_typedarray_type wanted, Element** data, size_t* length) {
  napi_typedarray_type type;
  void* found;
  if (napi_get_typedarray_info(env, value, &type, length, &found, nullptr, nullptr) != napi_ok) return false;
  *data = static_cast<Element*>(found);
  return type == wanted;
}

bool GetBytes(napi_env env, napi_value value, Bytes* bytes) {
  return GetArray(env, value, napi_uint8_array, &bytes->data, &bytes->length);
}

// Exactly `count` arguments.
bool GetArguments(napi_env env, napi_callback_info info, size_t count, napi_value* arguments) {
  size_t found = count;
  return napi_get_cb_info(env, info, &found, arguments, nullptr, nullptr) == napi_ok && found == count;
}

// An image's bytes, and others of the same length, in other memory.
bool GetPair(napi_env env, const napi_value* arguments, Bytes* from, Bytes* to) {
  return GetBytes(env, arguments[0], from) && GetBytes(env, arguments[1], to) && from->length == to->length &&
         from->length % 3 == 0 && (from->data + from->length <= to->data || to->data + to->length <= from->data);
}

bool GetSize(napi_env env, const napi_value* arguments, int32_t* height, int32_t* width) {
  return napi_get_value_int32(env, arguments[0], height) == napi_ok && napi_get_value_int32(env, arguments[1], width) == napi_ok &&
         *height > 0 && *width > 0;
}

size_t BytesOf(int32_t height, int32_t width) { return static_cast<size_t>(height) * width * 3; }

napi_value Throw(napi_env env, const char* message) {
  napi_throw_type_error(env, nullptr, message);
  return nullptr;
}

napi_value DecodeJpeg(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  Bytes encoded, pixels;
  int32_t height, width;
  if (!GetArguments(env, info, 4, arguments) || !GetBytes(env, arguments[0], &encoded) ||
      !GetBytes(env, arguments[1], &pixels) || !GetSize(env, arguments + 2, &height, &width) ||
      pixels.length != BytesOf(height, width) || encoded.length > INT32_MAX) {
    return Throw(env, "decodeJpeg(encoded, pixels, height, width): wrong kinds or lengths");
  }
  tensorflow::jpeg::UncompressFlags flags;
  flags.components = 3;
  int64_t warnings = 0;
  const uint8_t* decoded = tensorflow::jpeg::Uncompress(
      encoded.data, static_cast<int>(encoded.length), flags, &warnings,
      [&](int found_width, int found_height, int components) -> uint8_t* {
        return found_width == width && found_height == height && components == 3 ? pixels.data : nullptr;
      });
  napi_value result;
  napi_create_double(env, decoded == nullptr ? -1 : static_cast<double>(warnings), &result);
  return result;
}

// For each target pixel along one axis: its first source pixel, how many, and their weights, as src/data/images/resample.ts makes them.
struct Windows {
  int32_t target;
  const int32_t* first;
  const int32_t* count;
  const int32_t* weights;
  int32_t stride;
  bool cut_off;  // whether a sum can leave a byte: by weights below 0 (bicubic), or by what thousands of weights are rounded by
};

constexpr int kWeightBits = 22;
constexpr int kHalf = 1 << (kWeightBits - 1);

// The instructions are chosen when the addon is loaded: a cache folder may be shared by machines of several kinds.
#if defined(__x86_64__) && defined(__linux__)
#define FOR_EACH_MACHINE __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_MACHINE
#endif

typedef int32_t Pixel __attribute__((vector_size(16)));  // red, green, blue, and the next pixel's red, which nobody uses

// One row of RGB to its target pixels; `wide` has room for the row's bytes and one more.
FOR_EACH_MACHINE
void AcrossRow(const uint8_t* from, size_t source_bytes, uint8_t* to, const Windows& windows, int32_t* wide) {
  for (size_t i = 0; i < source_bytes; i++) wide[i] = from[i];
  for (int column = 0; column < windows.target; column++) {
    const int32_t* weight = windows.weights + static_cast<size_t>(column) * windows.stride;
    const int32_t* source = wide + static_cast<size_t>(windows.first[column]) * 3;
    const int count = windows.count[column];
    Pixel sums = {kHalf, kHalf, kHalf, kHalf};
    for (int i = 0; i < count; i++, source += 3) {
      Pixel pixel;
      std::memcpy(&pixel, source, sizeof(pixel));
      sums += pixel * weight[i];
    }
    sums >>= kWeightBits;
    if (windows.cut_off) {
      sums = sums < 0 ? Pixel{} : sums;
      sums = sums > 255 ? Pixel{255, 255, 255, 255} : sums;
    }
    for (int channel = 0; channel < 3; channel++) to[static_cast<size_t>(column) * 3 + channel] = static_cast<uint8_t>(sums[channel]);
  }
}

// One target row from the rows that have weight in it.
FOR_EACH_MACHINE
void DownColumns(const uint8_t* from, size_t row_bytes, uint8_t* to, const int32_t* weights, int count, int32_t* sums) {
  for (size_t i = 0; i < row_bytes; i++) sums[i] = kHalf;
  for (int tap = 0; tap < count; tap++) {
    const int32_t weight = weights[tap];
    const uint8_t* row = from + tap * row_bytes;
    for (size_t i = 0; i < row_bytes; i++) sums[i] += row[i] * weight;
  }
  for (size_t i = 0; i < row_bytes; i++) {
    const int32_t value = sums[i] >> kWeightBits;
    to[i] = static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}

bool GetWindows(napi_env env, const napi_value* arguments, int pixels, int target, Windows* windows) {
  const int32_t* ints[3];
  size_t length[3];
  for (int i = 0; i < 3; i++)
    if (!GetArray(env, arguments[i], napi_int32_array, &ints[i], &length[i])) return false;
  if (length[0] != static_cast<size_t>(target) || length[1] != length[0] || length[2] % length[0] != 0 || length[2] / length[0] > INT32_MAX)
    return false;
  *windows = {target, ints[0], ints[1], ints[2], static_cast<int32_t>(length[2] / length[0]), false};
  windows->cut_off = windows->stride > 1000 || std::any_of(ints[2], ints[2] + length[2], [](int32_t weight) { return weight < 0; });
  for (int i = 0; i < target; i++) {
    const int32_t first = windows->first[i], count = windows->count[i];
    if (first < 0 || count < 0 || count > windows->stride || first > pixels - count) return false;
  }
  return true;
}

// Arguments from, to, height, width, target, first, count, weights: along the rows, or along the columns.
struct Resampling {
  Bytes from, to;
  int32_t height, width;
  Windows windows;
};

bool GetResampling(napi_env env, napi_callback_info info, bool across, Resampling* given) {
  napi_value arguments[8];
  int32_t target;
  if (!GetArguments(env, info, 8, arguments) || !GetBytes(env, arguments[0], &given->from) ||
      !GetBytes(env, arguments[1], &given->to) || !GetSize(env, arguments + 2, &given->height, &given->width) ||
      napi_get_value_int32(env, arguments[4], &target) != napi_ok || target < 1)
    return false;
  return given->from.length == BytesOf(given->height, given->width) &&
         given->to.length == (across ? BytesOf(given->height, target) : BytesOf(target, given->width)) &&
         GetWindows(env, arguments + 5, across ? given->width : given->height, target, &given->windows);
}

napi_value ResampleAcross(napi_env env, napi_callback_info info) try {
  Resampling given;
  if (!GetResampling(env, info, true, &given)) return Throw(env, "resampleAcross: wrong kinds, lengths or windows");
  const size_t source_bytes = BytesOf(1, given.width);
  const size_t target_bytes = BytesOf(1, given.windows.target);
  std::vector<int32_t> wide(source_bytes + 1);
  for (int row = 0; row < given.height; row++)
    AcrossRow(given.from.data + row * source_bytes, source_bytes, given.to.data + row * target_bytes, given.windows, wide.data());
  return nullptr;
} catch (const std::bad_alloc&) {
  return Throw(env, "resampleAcross: no memory for a row");
}

napi_value ResampleDown(napi_env env, napi_callback_info info) try {
  Resampling given;
  if (!GetResampling(env, info, false, &given)) return Throw(env, "resampleDown: wrong kinds, lengths or windows");
  const Windows& windows = given.windows;
  const size_t row_bytes = BytesOf(1, given.width);
  std::vector<int32_t> sums(row_bytes);
  for (int row = 0; row < windows.target; row++) {
    DownColumns(given.from.data + windows.first[row] * row_bytes, row_bytes, given.to.data + row * row_bytes,
                windows.weights + static_cast<size_t>(row) * windows.stride, windows.count[row], sums.data());
  }
  return nullptr;
} catch (const std::bad_alloc&) {
  return Throw(env, "resampleDown: no memory for a row");
}

// Takes pixels `step` apart, places and steps in fractions of 65536: 32 bits hold those of 32,767 pixels, and not the place behind the last one.
void GatherRow(const uint8_t* from, int32_t width, uint8_t* to, int32_t count, int64_t x, int64_t y, int32_t step_x, int32_t step_y) {
  for (int32_t i = 0; i < count; i++, x += step_x, y += step_y, to += 3) {
    const uint8_t* source = from + (static_cast<size_t>(y >> 16) * width + static_cast<size_t>(x >> 16)) * 3;
    std::memcpy(to, source, 3);
  }
}

napi_value Gather(napi_env env, napi_callback_info info) {
  napi_value arguments[7];
  Bytes from, to;
  int32_t height, width, step_x, step_y;
  const int32_t* runs;
  size_t length;
  bool good = GetArguments(env, info, 7, arguments) && GetPair(env, arguments, &from, &to) &&
              GetSize(env, arguments + 2, &height, &width) && from.length == BytesOf(height, width) &&
              napi_get_value_int32(env, arguments[4], &step_x) == napi_ok &&
              napi_get_value_int32(env, arguments[5], &step_y) == napi_ok && GetArray(env, arguments[6], napi_int32_array, &runs, &length) &&
              length == static_cast<size_t>(height) * 4;
  // A run is straight: with both its ends it lies in the image.
  const auto inside = [](int64_t place, int32_t pixels) { return place >= 0 && place < static_cast<int64_t>(pixels) << 16; };
  for (int row = 0; good && row < height; row++) {
    const int32_t* run = runs + static_cast<size_t>(row) * 4;
    const int64_t steps = static_cast<int64_t>(run[1]) - run[0] - 1;
    good = run[0] >= 0 && run[0] <= run[1] && run[1] <= width &&
           (steps < 0 || (inside(run[2], width) && inside(run[3], height) && inside(run[2] + steps * step_x, width) &&
                          inside(run[3] + steps * step_y, height)));
  }
  if (!good) return Throw(env, "gather(from, to, height, width, stepX, stepY, runs): wrong kinds, lengths or runs");
  for (int row = 0; row < height; row++) {
    const int32_t* run = runs + static_cast<size_t>(row) * 4;
    uint8_t* target = to.data + row * BytesOf(1, width);
    std::memset(target, 0, BytesOf(1, run[0]));
    GatherRow(from.data, width, target + BytesOf(1, run[0]), run[1] - run[0], run[2], run[3], step_x, step_y);
    std::memset(target + BytesOf(1, run[1]), 0, BytesOf(1, width - run[1]));
  }
  return nullptr;
}

napi_value LookUp(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  Bytes from, to, tables;
  if (!GetArguments(env, info, 3, arguments) || !GetPair(env, arguments, &from, &to) ||
      !GetBytes(env, arguments[2], &tables) || tables.length != 3 * 256) {
    return Throw(env, "lookUp(from, to, tables): wrong kinds or lengths");
  }
  const uint8_t* __restrict source = from.data;
  const uint8_t* __restrict values = tables.data;
  uint8_t* __restrict target = to.data;
  for (size_t i = 0; i < from.length; i += 3) {
    target[i] = values[source[i]];
    target[i + 1] = values[256 + source[i + 1]];
    target[i + 2] = values[512 + source[i + 2]];
  }
  return nullptr;
}

napi_value Histograms(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Bytes from;
  uint32_t* counts;
  size_t length;
  if (!GetArguments(env, info, 2, arguments) || !GetBytes(env, arguments[0], &from) || from.length % 3 != 0 ||
      !GetArray(env, arguments[1], napi_uint32_array, &counts, &length) || length != 3 * 256) {
    return Throw(env, "histograms(from, counts): wrong kinds or lengths");
  }
  for (size_t i = 0; i < from.length; i += 3) {
    counts[from.data[i]]++;
    counts[256 + from.data[i + 1]]++;
    counts[512 + from.data[i + 2]]++;
  }
  return nullptr;
}

// As Pillow's mode L (ITU-R 601-2, 16-bit fractions).
inline int Grey(const uint8_t* pixel) { return (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16; }

FOR_EACH_MACHINE
int64_t SumGrey(const uint8_t* from, size_t pixels) {
  int64_t sum = 0;
  for (size_t i = 0; i < pixels; i++) sum += Grey(from + i * 3);
  return sum;
}

napi_value GreySum(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  Bytes from;
  if (!GetArguments(env, info, 1, &argument) || !GetBytes(env, argument, &from) || from.length % 3 != 0)
    return Throw(env, "greySum(from): wrong kind or length");
  napi_create_double(env, static_cast<double>(SumGrey(from.data, from.length / 3)), &result);
  return result;
}

// Pillow's blend: float32 (compiled without fused multiply-add), cut off, kept within a byte.
inline uint8_t Blend(int other, int value, float factor) {
  const int mixed = static_cast<int>(static_cast<float>(other) + factor * static_cast<float>(value - other));
  return static_cast<uint8_t>(mixed < 0 ? 0 : mixed > 255 ? 255 : mixed);
}

// Factors beyond this could leave what an int holds, and a NaN is none.
bool GetFactor(napi_env env, napi_value value, float* factor) {
  double given;
  if (napi_get_value_double(env, value, &given) != napi_ok || !(given > -1000 && given < 1000)) return false;
  *factor = static_cast<float>(given);
  return true;
}

FOR_EACH_MACHINE
void AwayFromGreyBlock(const uint8_t* from, uint8_t* to, int pixels, float factor, uint8_t* greys) {
  for (int i = 0; i < pixels; i++) greys[i * 3] = greys[i * 3 + 1] = greys[i * 3 + 2] = static_cast<uint8_t>(Grey(from + i * 3));
  for (int i = 0; i < pixels * 3; i++) to[i] = Blend(greys[i], from[i], factor);
}

napi_value AwayFromGrey(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  Bytes from, to;
  float factor;
  if (!GetArguments(env, info, 3, arguments) || !GetPair(env, arguments, &from, &to) || !GetFactor(env, arguments[2], &factor))
    return Throw(env, "awayFromGrey(from, to, factor): wrong kinds or lengths");
  constexpr size_t kBlock = 1024;
  uint8_t greys[kBlock * 3];
  for (size_t at = 0; at < from.length; at += kBlock * 3) {
    const size_t pixels = (from.length - at) / 3;
    AwayFromGreyBlock(from.data + at, to.data + at, static_cast<int>(pixels < kBlock ? pixels : kBlock), factor, greys);
  }
  return nullptr;
}

// One row but its first and last pixel, from the rows above and below.
FOR_EACH_MACHINE
void SharpenRow(const uint8_t* above, const uint8_t* row, const uint8_t* below, uint8_t* __restrict to, size_t bytes, float factor) {
  for (size_t i = 3; i + 3 < bytes; i++) {
    const int around = above[i - 3] + above[i] + above[i + 3] + row[i - 3] + row[i + 3] + below[i - 3] + below[i] + below[i + 3];
    const int smooth = static_cast<int>((2u * (around + 5 * row[i]) + 13u) / 26u);
    to[i] = Blend(smooth, row[i], factor);
  }
}

napi_value Sharpen(napi_env env, napi_callback_info info) {
  napi_value arguments[5];
  Bytes from, to;
  int32_t height, width;
  float factor;
  if (!GetArguments(env, info, 5, arguments) || !GetPair(env, arguments, &from, &to) ||
      !GetSize(env, arguments + 2, &height, &width) || from.length != BytesOf(height, width) ||
      !GetFactor(env, arguments[4], &factor)) {
    return Throw(env, "sharpen(from, to, height, width, factor): wrong kinds or lengths");
  }
  std::memcpy(to.data, from.data, from.length);
  const size_t bytes = BytesOf(1, width);
  for (int row = 1; row < height - 1; row++) {
    const uint8_t* middle = from.data + row * bytes;
    SharpenRow(middle - bytes, middle, middle + bytes, to.data + row * bytes, bytes, factor);
  }
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  const std::pair<const char*, napi_callback> functions[] = {
      {"decodeJpeg", DecodeJpeg}, {"resampleAcross", ResampleAcross}, {"resampleDown", ResampleDown}, {"gather", Gather},
      {"lookUp", LookUp},         {"histograms", Histograms}, {"greySum", GreySum},
      {"awayFromGrey", AwayFromGrey}, {"sharpen", Sharpen},
  };
  for (const auto& [name, callback] : functions) {
    napi_value function;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function) != napi_ok ||
        napi_set_named_property(env, exports, name, function) != napi_ok)
      return nullptr;
  }
  return exports;
}
