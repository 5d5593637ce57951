// Matrix products of linear layers in training, with what follows them in the same pass: blocks that stay in the caches, tiles that stay in
// registers (Goto and van de Geijn, 2008; the loops of BLIS, Van Zee and van de Geijn, 2015).
//
// Notation: c (m, n) = a (m, depth) b (depth, n). A number of c is summed along the depth, in blocks whose bounds the depth alone decides:
// its bits depend neither on the other rows and columns nor on the threads.
#include <omp.h>

#include <algorithm>

#include "lanes.h"

namespace {

#ifdef __AVX512F__
constexpr long TALL = 9, BROAD = 3;  // rows and vectors of a tile: 27 sums, 3 vectors of b and a number of a are 31 of 32 registers
#else
constexpr long TALL = 6, BROAD = 2;  // 15 of 16
#endif
constexpr long DEPTH = 320;       // of a block: BROAD vectors of b at this depth fit the second-level cache of any processor
constexpr long GROUP = 10;        // tiles of a that are packed together: their parts of a row lie side by side
constexpr long AHEAD = 8;         // rows that are fetched before they are packed
constexpr long ALONE = 1L << 18;  // multiplications that are not worth a second thread

struct Matrix {  // the number (i, j) lies at[i * down + j * right]; one of both is 1
    const float* at;
    long down, right;
    Matrix from(long i, long j) const { return {at + i * down + j * right, down, right}; }
};

struct Target {  // where a tile goes
    float *c, *active;   // active: where gelu(c) goes, or null
    long row, columns;   // floats from a row to the next; columns that there are, of those of the tile
    const float* shift;  // a row to add, or null
    bool more;           // c has sums of earlier blocks
    Target from(long i, long j) const {
        long move = i * row + j;
        return {c + move, active ? active + move : nullptr, row, columns - j, shift ? shift + j : nullptr, more};
    }
};

struct Span {  // of rows, or of columns in vectors
    long from, to;
    long size() const { return to - from; }
};

Span share(Span all, long part, long parts) {
    return {all.from + all.size() * part / parts, all.from + all.size() * (part + 1) / parts};
}
long parts_of(long count, long most) { return (count + most - 1) / most; }

inline Lanes load(const float* from, long have) {
    if (have >= LANES) return load(from);
    Lanes values = {};
    std::memcpy(&values, from, have * sizeof(float));
    return values;
}

inline void store(float* to, Lanes values, long have) {
    if (have >= LANES) store(to, values);
    else std::memcpy(to, &values, have * sizeof(float));
}

// Of a tile: active = gelu(c), and c becomes the slope of GELU there.
void activate(const Target& to, long rows, long width) {
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < std::min(width, to.columns); j += LANES) {
            float* c = to.c + r * to.row + j;
            Gelu made = gelu(load(c, to.columns - j));
            store(to.active + r * to.row + j, made.value, to.columns - j);
            store(c, made.slope, to.columns - j);
        }
}

// What is added to the products of a tile whose last columns are not there.
void begin(const Target& to, long rows, long width, float* edge) {
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < width; j += LANES) {
            const float* before = to.more ? to.c + r * to.row : to.shift;
            store(edge + r * width + j, before && j < to.columns ? load(before + j, to.columns - j) : Lanes{});
        }
}

// A tile of c, of b packed (depth, C vectors). Its memory is fetched while the products are summed.
template <long R, long C>
void tile_of(const Matrix& a, const float* b, long depth, const Target& to) {
    constexpr long WIDTH = C * LANES;
    alignas(64) float edge[R * WIDTH];
    bool narrow = to.columns < WIDTH, more = to.more || narrow;
    float* c = narrow ? edge : to.c;
    const float* shift = to.shift;
    long row = narrow ? WIDTH : to.row;
    if (narrow) begin(to, R, WIDTH, edge);
    for (long r = 0; r < R; r++)
        for (long v = 0; v <= C; v++) __builtin_prefetch(c + r * row + v * LANES - (v == C), 1);
    Lanes sums[R][C];
    if (a.right == 1) sum_products<R, C>(sums, a.at, a.down, 1, b, WIDTH, depth);
    else sum_products<R, C>(sums, a.at, 1, R, b, WIDTH, depth);  // packed; numbers that the compiler knows are worth 4 %
#pragma GCC unroll 16
    for (long r = 0; r < R; r++)
#pragma GCC unroll 16
        for (long v = 0; v < C; v++) {
            float* at = c + r * row + v * LANES;
            if (more) sums[r][v] += load(at);
            else if (shift) sums[r][v] += load(shift + v * LANES);
            store(at, sums[r][v]);
        }
    for (long r = 0; narrow && r < R; r++) std::memcpy(to.c + r * to.row, edge + r * WIDTH, to.columns * sizeof(float));
    if (to.active) activate(to, R, WIDTH);
}

template <long R, long C>
void tile_of(long rows, const Matrix& a, const float* b, long depth, const Target& to) {
    if constexpr (R > 0) {
        if (rows == R) tile_of<R, C>(a, b, depth, to);
        else tile_of<R - 1, C>(rows, a, b, depth, to);
    }
}

template <long C>
void panel_of(long vectors, const Matrix& a, bool packed, Span rows, const float* b, long depth, const Target& to) {
    if constexpr (C > 0) {
        if (vectors != C) return panel_of<C - 1>(vectors, a, packed, rows, b, depth, to);
        for (long i = 0, tiles = parts_of(rows.size(), TALL); i < tiles; i++) {
            Span some = share({0, rows.size()}, i, tiles);
            Matrix part = packed ? Matrix{a.at + some.from * depth, 1, some.size()} : a.from(some.from, 0);
            tile_of<TALL, C>(some.size(), part, b, depth, to.from(some.from, 0));
        }
    }
}

template <size_t DISTANCE, bool SECOND, size_t... I>
inline Lanes exchanged(Lanes a, Lanes b, std::index_sequence<I...>) {
    return SECOND ? __builtin_shufflevector(a, b, (I & DISTANCE ? I + LANES : I + DISTANCE)...)
                  : __builtin_shufflevector(a, b, (I & DISTANCE ? I - DISTANCE + LANES : I)...);
}

// A square of vectors, rows as columns: halves change places, then quarters, ...
template <size_t DISTANCE = 1>
inline void transpose(Lanes* square) {
    constexpr auto all = std::make_index_sequence<LANES>();
    for (size_t i = 0; i < LANES; i++)
        if (!(i & DISTANCE)) {
            Lanes first = square[i], second = square[i + DISTANCE];
            square[i] = exchanged<DISTANCE, false>(first, second, all);
            square[i + DISTANCE] = exchanged<DISTANCE, true>(first, second, all);
        }
    if constexpr (2 * DISTANCE < LANES) transpose<2 * DISTANCE>(square);
}

// LANES columns of b whose numbers lie one behind the other (have of them are there), to rows width apart.
void pack_transposed(const float* b, long right, long depth, long have, float* to, long width) {
    Lanes square[LANES] = {};
    for (long i = 0; i < depth; i += LANES, b += LANES, to += LANES * width) {
        long rows = std::min(LANES, depth - i);
        if (rows == LANES && have == LANES)
            for (long j = 0; j < LANES; j++) square[j] = load(b + j * right);
        else
            for (long j = 0; j < LANES; j++) square[j] = j < have ? load(b + j * right, rows) : Lanes{};
        transpose(square);
        for (long j = 0; j < rows; j++) store(to + j * width, square[j]);
    }
}

// b (depth, columns) with rows cut to width, or filled up to it by zeros.
void pack_columns(const Matrix& b, long depth, long columns, float* to, long width) {
    if (b.right != 1)
        for (long j = 0; j < width; j += LANES)
            pack_transposed(b.at + j * b.right, b.right, depth, std::min(columns - j, LANES), to + j, width);
    else if (columns >= width)
        for (long i = 0; i < depth; i++)
            for (long j = 0; j < width; j += LANES) store(to + i * width + j, load(b.at + i * b.down + j));
    else
        for (long i = 0; i < depth; i++)
            for (long j = 0; j < width; j += LANES) store(to + i * width + j, load(b.at + i * b.down + j, columns - j));
}

// Rows of a that lie one beside the other, tile after tile (depth, rows of the tile); totals, if wanted, (rows,) are added up.
void pack_rows(const Matrix& a, long m, long depth, float* to, float* totals) {
    long tiles = parts_of(m, TALL), least = m / tiles, bounds[GROUP + 1];
    for (long first = 0; first < tiles; first += GROUP) {
        long many = std::min(GROUP, tiles - first);
        for (long tile = 0; tile <= many; tile++) bounds[tile] = m * (first + tile) / tiles;
        Span rows = {bounds[0], bounds[many]};
        // A whole vector may be moved where it ends in numbers of its own tile that come later.
        long loose = rows.to + LANES <= m ? std::max(0L, depth - parts_of(LANES, least) + 1) : 0;
        for (long i = 0; i < depth; i++) {
            const float* line = a.at + i * a.right;
            for (long r = rows.from; r < rows.to; r += LANES) __builtin_prefetch(line + AHEAD * a.right + r);
            if (i < loose)
                for (long tile = 0; tile < many; tile++) {
                    long from = bounds[tile], size = bounds[tile + 1] - from;
                    store(to + from * depth + i * size, load(line + from));
                }
            else
                for (long tile = 0; tile < many; tile++) {
                    long from = bounds[tile], size = bounds[tile + 1] - from;
                    std::memcpy(to + from * depth + i * size, line + from, size * sizeof(float));
                }
            for (long r = rows.from; totals && r < rows.to; r++) totals[r] += line[r];
        }
    }
}

// Some rows and vectors of columns of c, by one thread.
void part_of(const Matrix& a, bool packed, const Matrix& b, long depth, Span rows, Span vectors, long n, const Target& to, float* totals) {
    static thread_local Room room, panel;
    float* place = packed ? room.of(rows.size() * DEPTH) : nullptr;
    float* columns = panel.of(DEPTH * BROAD * LANES);
    if (totals) std::fill(totals + rows.from, totals + rows.to, 0.0f);
    for (long block = 0, blocks = std::max(1L, parts_of(depth, DEPTH)); block < blocks; block++) {
        Span along = share({0, depth}, block, blocks);
        Matrix some = a.from(rows.from, along.from);
        if (packed) {
            pack_rows(some, rows.size(), along.size(), place, totals ? totals + rows.from : nullptr);
            some.at = place;
        }
        for (long i = 0, panels = parts_of(vectors.size(), BROAD); i < panels; i++) {
            Span wide = share(vectors, i, panels);
            long first = wide.from * LANES;
            Target there = to.from(rows.from, first);
            there.more = block > 0, there.active = block + 1 == blocks ? there.active : nullptr;
            pack_columns(b.from(along.from, first), along.size(), n - first, columns, wide.size() * LANES);
            panel_of<BROAD>(wide.size(), some, packed, {0, rows.size()}, columns, along.size(), there);
        }
    }
}

}  // namespace

// c (m, n) = a b + shift (n,), of a (m, depth) and b (depth, n) whose number (i, j) lies at [i * down + j * right], one of both 1. Where
// they are wanted (else null): active = gelu(c) in its erf form, and c becomes the slope of GELU there; totals (m,), the sums of the rows
// of a, which then lie one beside the other.
PUBLIC void product(const float* a, long a_down, long a_right, const float* b, long b_down, long b_right, const float* shift, long m,
                    long n, long depth, float* c, float* active, float* totals) {
    Matrix left = {a, a_down, a_right}, right = {b, b_down, b_right};
    Span rows = {0, m}, vectors = {0, parts_of(n, LANES)};
    bool packed = totals || a_right != 1;
    Target to = {c, active, n, n, shift, false};
#pragma omp parallel if (m * n * depth > ALONE)
    {
        // Columns are packed by every thread that has them, rows of a that are not packed are read by all: so split the columns of those.
        long threads = omp_get_num_threads(), me = omp_get_thread_num(), across = packed ? 1 : threads;
        while (threads % across || (across > 1 && across * 2 * BROAD > vectors.size())) across--;
        Span mine = share(rows, me / across, threads / across), wide = share(vectors, me % across, across);
        if (mine.size() && (wide.size() || totals)) part_of(left, packed, right, depth, mine, wide, n, to, totals);
    }
}
