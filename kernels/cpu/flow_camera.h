// The affine motion that most of a flow follows; `streamer/ops/motion_global.py` is the definition.
#pragma once

#include <algorithm>
#include <cstdint>

namespace {

constexpr int FIT_STEP = 8, FIT_ROUNDS = 5;
constexpr double LEAST_SPREAD_PX = 0.3, FIT_RIDGE = 1e-4;

// x and y of the motion: at the middle, and what it gains over one width to the right and down.
struct Camera {
    float x[3], y[3];
};

struct Point {
    double place[3], wanted[2];
};

// Solves three equations with a symmetric positive matrix, twice.
inline void solve(const double (&m)[6], const double (&right)[2][3], double (&left)[2][3]) {
    // xx xy xz yy yz zz
    const double a = m[3] * m[5] - m[4] * m[4], b = m[2] * m[4] - m[1] * m[5];
    const double c = m[1] * m[4] - m[2] * m[3], d = m[0] * m[5] - m[2] * m[2];
    const double e = m[1] * m[2] - m[0] * m[4], f = m[0] * m[3] - m[1] * m[1];
    const double scale = 1.0 / (m[0] * a + m[1] * b + m[2] * c);
    for (int n = 0; n < 2; ++n) {
        const double(&r)[3] = right[n];
        left[n][0] = scale * (a * r[0] + b * r[1] + c * r[2]);
        left[n][1] = scale * (b * r[0] + d * r[1] + e * r[2]);
        left[n][2] = scale * (c * r[0] + e * r[1] + f * r[2]);
    }
}

// The mean of the middle two of an even number; changes the order.
inline double median(double* values, int count) {
    double* middle = values + count / 2;
    std::nth_element(values, middle, values + count);
    return count % 2 ? *middle : (*middle + *std::max_element(values, middle)) / 2;
}

inline int points_of(int height, int width) {
    return ((height - FIT_STEP / 2 + FIT_STEP - 1) / FIT_STEP) *
           ((width - FIT_STEP / 2 + FIT_STEP - 1) / FIT_STEP);
}

// `points` and `off` hold `points_of` each.
Camera fitted(const float* flow, int height, int width, Point* points, double* off, double* sorted) {
    int count = 0;
    for (int y = FIT_STEP / 2; y < height; y += FIT_STEP)
        for (int x = FIT_STEP / 2; x < width; x += FIT_STEP) {
            const float* motion = flow + 2 * (int64_t(y) * width + x);
            points[count++] = {{1.0, (x - width / 2.0) / width, (y - height / 2.0) / width},
                               {motion[0], motion[1]}};
        }
    std::fill(off, off + count, 0.0);
    double spread = 1.0, found[2][3] = {};
    for (int round = 0; round < FIT_ROUNDS; ++round) {
        double by[6] = {FIT_RIDGE, 0, 0, FIT_RIDGE, 0, FIT_RIDGE}, right[2][3] = {};
        for (int n = 0; n < count; ++n) {
            const double near = 1.0 / (1.0 + off[n] / spread), weight = near * near;
            const double* p = points[n].place;
            const double w[3] = {weight, weight * p[1], weight * p[2]};
            by[0] += w[0], by[1] += w[1], by[2] += w[2];
            by[3] += w[1] * p[1], by[4] += w[1] * p[2], by[5] += w[2] * p[2];
            for (int k = 0; k < 2; ++k)
                for (int j = 0; j < 3; ++j) right[k][j] += w[j] * points[n].wanted[k];
        }
        solve(by, right, found);
        for (int n = 0; n < count; ++n) {
            const double* p = points[n].place;
            double apart[2];
            for (int k = 0; k < 2; ++k)
                apart[k] = points[n].wanted[k] -
                           (found[k][0] + found[k][1] * p[1] + found[k][2] * p[2]);
            off[n] = sorted[n] = apart[0] * apart[0] + apart[1] * apart[1];
        }
        spread = std::max(LEAST_SPREAD_PX * LEAST_SPREAD_PX, median(sorted, count));
    }
    Camera camera;
    for (int j = 0; j < 3; ++j) camera.x[j] = float(found[0][j]), camera.y[j] = float(found[1][j]);
    return camera;
}

}  // namespace
