// Vectors of float32, and small matrix products of rows that are padded to whole vectors.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>
#define PUBLIC extern "C" __attribute__((visibility("default")))

namespace {

#ifdef __AVX512F__
constexpr long LANES = 16, ROWS = 8, COLUMNS = 2;  // numbers of a vector; rows and vectors of a product that are summed together ...
#else
constexpr long LANES = 8, ROWS = 6, COLUMNS = 2;  // ... as many sums as there are registers for
#endif
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef int32_t Words __attribute__((vector_size(LANES * sizeof(int32_t)), aligned(4)));
typedef uint32_t Unsigned __attribute__((vector_size(LANES * sizeof(int32_t)), aligned(4)));

inline Lanes load(const float* from) { return *reinterpret_cast<const Lanes*>(from); }
inline Words load(const int32_t* from) { return *reinterpret_cast<const Words*>(from); }
inline void store(float* to, Lanes values) { *reinterpret_cast<Lanes*>(to) = values; }
inline long padded(long n) { return (n + LANES - 1) / LANES * LANES; }

// Whether dropout keeps the values of a row and the columns of these keys (all bits or none): the hash of nlphub/kernels/reference.py.
inline Words kept(int32_t row, Words columns, int32_t least) {
    Unsigned word = reinterpret_cast<Unsigned>(columns ^ row) * 0x7FEB352DU;
    word ^= reinterpret_cast<Unsigned>(reinterpret_cast<Words>(word) >> 15);
    return reinterpret_cast<Words>(word * 0x846CA68BU) >= least;
}

inline bool kept(int32_t row, int32_t column, int32_t least) {
    uint32_t word = static_cast<uint32_t>(row ^ column) * 0x7FEB352DU;
    word ^= static_cast<uint32_t>(static_cast<int32_t>(word) >> 15);
    return static_cast<int32_t>(word * 0x846CA68BU) >= least;
}

inline float power_of_two(float rounded) {  // of a number to which 1.5 * 2^23 was added: its low bits are an integer
    return __builtin_bit_cast(float, (__builtin_bit_cast(int32_t, rounded) + 127) << 23);
}
inline Lanes power_of_two(Lanes rounded) { return reinterpret_cast<Lanes>((reinterpret_cast<Words>(rounded) + 127) << 23); }

// e^x for x <= 0 or slightly above, to 2 units in the last place (Cephes); NaN stays NaN. For a number and for Lanes.
template <class T>
inline T exponential(T x) {
    const T least = T{} - 87.0f;
    x = x < least ? least : x;
    T rounded = x * 1.44269504f + 12582912.0f, whole = rounded - 12582912.0f;
    T rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    T sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    return sum * power_of_two(rounded);
}

struct Gelu {
    Lanes value, slope;
};

// GELU in its erf form: x times the normal distribution function of x, and its slope; erf by Abramowitz and Stegun 7.1.26 (error 1.5e-7).
inline Gelu gelu(Lanes x) {
    Lanes size = (x < 0.0f ? -x : x) * 0.70710678f;
    Lanes t = 1.0f / (1.0f + 0.3275911f * size);
    Lanes bell = exponential(-size * size);
    Lanes tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) * bell * 0.5f;
    Lanes below = x < 0.0f ? tail : 1.0f - tail;
    return {x * below, below + x * bell * 0.39894228f};
}

template <size_t DISTANCE, size_t... I>
inline Lanes swapped(Lanes v, std::index_sequence<I...>) {
    return __builtin_shufflevector(v, v, (I ^ DISTANCE)...);
}

// All numbers of a vector joined to one, in pairs of growing distance.
template <size_t DISTANCE = 1, class Join>
inline float joined(Lanes v, Join join) {
    v = join(v, swapped<DISTANCE>(v, std::make_index_sequence<LANES>()));
    if constexpr (2 * DISTANCE < LANES) return joined<2 * DISTANCE>(v, join);
    return v[0];
}

inline float total(Lanes v) { return joined(v, [](auto a, auto b) { return a + b; }); }
inline float largest(Lanes v) { return joined(v, [](auto a, auto b) { return a > b ? a : b; }); }

// Memory of one thread that begins where a vector does.
struct Room {
    std::vector<float> floats;
    float* of(long count) {
        if (static_cast<long>(floats.size()) < count + LANES) floats.resize(count + LANES);  // never less: what is regained is cleared
        auto place = reinterpret_cast<uintptr_t>(floats.data()), vector = LANES * sizeof(float);
        return reinterpret_cast<float*>((place + vector - 1) / vector * vector);
    }
};

// sums = a b of R rows and C vectors, in registers.
template <long R, long C>
__attribute__((always_inline)) inline void sum_products(Lanes (&sums)[R][C], const float* a, long down, long right, const float* b,
                                                        long b_row, long depth) {
    for (long r = 0; r < R; r++)
        for (long v = 0; v < C; v++) sums[r][v] = Lanes{};
    for (long i = 0; i < depth; i++, a += right, b += b_row) {
        Lanes values[C];
        for (long v = 0; v < C; v++) values[v] = load(b + v * LANES);
        for (long r = 0; r < R; r++)
            for (long v = 0; v < C; v++) sums[r][v] += a[r * down] * values[v];
    }
}

// R rows and C vectors of c = a b.
template <long R, long C>
inline void tile(const float* a, long down, long right, const float* b, long b_row, float* c, long c_row, long depth) {
    Lanes sums[R][C];
    sum_products<R, C>(sums, a, down, right, b, b_row, depth);
    for (long r = 0; r < R; r++)
        for (long v = 0; v < C; v++) store(c + r * c_row + v * LANES, sums[r][v]);
}

template <long R, long C>
inline void rest(long m, const float* a, long down, long right, const float* b, long b_row, float* c, long c_row, long depth) {
    if constexpr (R > 0) {
        if (m == R) tile<R, C>(a, down, right, b, b_row, c, c_row, depth);
        else rest<R - 1, C>(m, a, down, right, b, b_row, c, c_row, depth);
    }
}

template <long C>
inline void strip(const float* a, long down, long right, const float* b, long b_row, float* c, long c_row, long m, long depth) {
    for (; m >= ROWS; m -= ROWS, a += ROWS * down, c += ROWS * c_row) tile<ROWS, C>(a, down, right, b, b_row, c, c_row, depth);
    rest<ROWS - 1, C>(m, a, down, right, b, b_row, c, c_row, depth);
}

// c (m, n) = a (m, depth) b (depth, n) for row-major b and c whose rows are padded to whole vectors; a lies at any strides.
inline void product(const float* a, long down, long right, const float* b, long b_row, float* c, long c_row, long m, long n, long depth) {
    for (; n >= COLUMNS * LANES; n -= COLUMNS * LANES, b += COLUMNS * LANES, c += COLUMNS * LANES)
        strip<COLUMNS>(a, down, right, b, b_row, c, c_row, m, depth);
    for (; n > 0; n -= LANES, b += LANES, c += LANES) strip<1>(a, down, right, b, b_row, c, c_row, m, depth);
}

}  // namespace
