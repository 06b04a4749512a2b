// How much two luma planes differ, which tells duplicates; and how their codes are spread, for cuts.
//
// One thread:  runs of RUN neighbouring pixels of both planes, one run per stride of the grid.
// first, second: width x height, 8 bits or 10 in the upper bits; any stride and alignment.
// out:         one Difference, zero before the launch: counts are added to it. Codes are those of
//              the depth; a bin holds 4 codes of 8 bits, 16 of 10. Without bins the sum alone.
// Per pixel:   reads 1 sample of each plane; writes 8 bytes per block, 520 with bins.
// Shared memory holds a byte for each bin and thread, so that nothing is counted with atomics: those of
//              neighbours, which are alike, would wait for each other. Four warps share the words that
//              the threads of one have in a bank each. Before a byte is full all are added up.
// Odd edges:   every pixel counts once.

#include "picture.cuh"

constexpr int RUN = 16, BINS = 64, MOST_RUNS = 255 / RUN;
constexpr int THREADS = 256;  // of a block, always

struct Difference {
    unsigned long long sum;
    uint32_t bins[2][BINS];
};

struct DifferenceArguments {
    const void* first;
    const void* second;
    Difference* out;
    int32_t first_stride;
    int32_t second_stride;
    int32_t width;
    int32_t height;
};

// Of every bin one byte for each thread.
constexpr int PIECES = THREADS / 16;
union Counts {
    uint8_t bins[2][BINS][THREADS];
    Piece<16> pieces[2 * BINS][PIECES];
    unsigned long long sums[THREADS];  // in the same place, once they are added up
};

// Where pixel `n` of a run is counted, whose bin is in the upper 6 bits of its uppermost byte: THREADS times
// the bin plus the thread's `place`.
template <class T>
__device__ uint32_t place_of(const Run<RUN, T>& run, int n, int place) {
    constexpr int EACH = 4 / sizeof(T);
    const uint32_t bins = run.words[n / EACH] >> 2 & 0x3F3F3F3Fu;
    const int byte = n % EACH * sizeof(T) + sizeof(T) - 1;
    return __byte_perm(bins, place, 0x5504u | byte << 4);
}

// Both planes' pixels `n`: neither count waits for the other, as neither can be in the other's place.
template <class T>
__device__ void count(const Run<RUN, T>& one, const Run<RUN, T>& other, int n, Counts& counts, int place) {
    uint8_t* const first = counts.bins[0][0] + place_of<T>(one, n, place);
    uint8_t* const second = counts.bins[1][0] + place_of<T>(other, n, place);
    const uint8_t before = *first, too = *second;
    *first = before + 1;
    *second = too + 1;
}

// The first `left` pixels of two runs.
template <class T>
__device__ void count_runs(const Run<RUN, T>& one, const Run<RUN, T>& other, int left, Counts& counts,
                           int place) {
    if (left >= RUN) {
#pragma unroll
        for (int n = 0; n < RUN; ++n) count<T>(one, other, n, counts, place);
        return;
    }
#pragma unroll  // seldom
    for (int n = 0; n < RUN; ++n)                                       // seldom
        if (n < left) count<T>(one, other, n, counts, place);  // seldom
}

// The sum of absolute differences of N codes.
template <int N>
BOTH uint32_t apart(const Run<N, uint8_t>& one, const Run<N, uint8_t>& other) {
    uint32_t sum = 0;
#pragma unroll
    for (int n = 0; n < one.WORDS; ++n) sum += __vsadu4(one.words[n], other.words[n]);
    return sum;
}
template <int N>
BOTH uint32_t apart(const Run<N, uint16_t>& one, const Run<N, uint16_t>& other) {
    uint32_t sum = 0;
#pragma unroll
    for (int n = 0; n < N; ++n)
        sum = __usad(bits_at(one, n) & 0xFFC0u, bits_at(other, n) & 0xFFC0u, sum);
    return sum >> Depth<uint16_t>::shift;
}

__device__ void clear(Counts& counts, int thread) {
#pragma unroll
    for (int n = 0; n < 2 * BINS * PIECES; n += THREADS) (&counts.pieces[0][0])[n + thread] = {};
    __syncthreads();
}

// A thread adds up a bin, and none begins where those beside it do: they would wait for each other.
// Those of a warp are added to neighbouring addresses, which is one access for eight of them.
__device__ void add_up(const Counts& counts, int thread, Difference* out) {
    __syncthreads();
    if (thread >= 2 * BINS) return;
    uint32_t sum = 0;
#pragma unroll
    for (int n = 0; n < PIECES; ++n) {
        const Piece<16> piece = counts.pieces[thread][(n + thread) % PIECES];
#pragma unroll
        for (int word = 0; word < 4; ++word) sum = __dp4a(piece.words[word], 0x01010101u, sum);
    }
    if (sum) atomicAdd(&out->bins[0][0] + thread, sum);
}

// Halves onto halves: an atomic of 64 bits on shared memory is a loop of comparisons.
__device__ void add_sums(unsigned long long (&sums)[THREADS], int thread, Difference* out) {
#pragma unroll
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) sums[thread] += sums[thread + half];
    }
    if (thread == 0) atomicAdd(&out->sum, sums[0]);
}

template <class T>
__device__ void compare(const DifferenceArguments& it) {
    __shared__ unsigned long long sums[THREADS];
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    unsigned long long sum = 0;
    FOR_EACH_Y(y, it.height)
    FOR_EACH_X(x, RUN, it.width) {
        const int left = it.width - x;
        sum += apart(load<RUN>(row_of<T>(it.first, it.first_stride, y) + x, left),
                     load<RUN>(row_of<T>(it.second, it.second_stride, y) + x, left));
    }
    sums[thread] = sum;
    add_sums(sums, thread, it.out);
}

template <class T>
__device__ void compare_and_count(const DifferenceArguments& it) {
    __shared__ Counts counts;
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int place = (thread & ~127) | (thread & 31) << 2 | (thread >> 5 & 3);
    clear(counts, thread);
    unsigned long long sum = 0;
    int runs = 0;
    // All threads of a block go around as often, as all have to be there when counts are added up.
    for (int top = blockIdx.y * blockDim.y; top < it.height; top += gridDim.y * blockDim.y)
        for (int begin = RUN * blockIdx.x * blockDim.x; begin < it.width;
             begin += RUN * gridDim.x * blockDim.x) {
            const int x = begin + RUN * threadIdx.x, y = top + threadIdx.y;
            const int left = y < it.height ? it.width - x : 0;
            if (left > 0) {
                const auto one = load<RUN>(row_of<T>(it.first, it.first_stride, y) + x, left);
                const auto other = load<RUN>(row_of<T>(it.second, it.second_stride, y) + x, left);
                sum += apart(one, other);
                count_runs<T>(one, other, left, counts, place);
            }
            if (++runs % MOST_RUNS) continue;
            add_up(counts, thread, it.out);  // seldom
            __syncthreads();                 // seldom
            clear(counts, thread);           // seldom
        }
    add_up(counts, thread, it.out);
    __syncthreads();
    counts.sums[thread] = sum;
    add_sums(counts.sums, thread, it.out);
}

#define KERNEL(name, HOW, T)                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS)                    \
    difference_##name(DifferenceArguments it) {                              \
        HOW<T>(it);                                                          \
    }

KERNEL(8_sum, compare, uint8_t)
KERNEL(8_bins, compare_and_count, uint8_t)
KERNEL(10_sum, compare, uint16_t)
KERNEL(10_bins, compare_and_count, uint16_t)
