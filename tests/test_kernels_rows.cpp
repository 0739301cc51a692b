// Reductions, normalisation and the loss, against their definitions computed in double.
#include <algorithm>
#include <numeric>

#include "tests/kernel_cases.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

const std::vector<int64_t> widths = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 100, 257};

// The expected values are computed in this: sums of doubles would need a tolerance of their own.
using Real = long double;

template <class T>
std::vector<Real> row_of(const std::vector<T>& x, int64_t r, int64_t cols) {
  return {x.begin() + r * cols, x.begin() + (r + 1) * cols};
}

Real log_sum_exp(const std::vector<Real>& x) {
  const Real most = *std::max_element(x.begin(), x.end());
  Real total = 0;
  for (Real v : x) total += std::exp(v - most);
  return most + std::log(total);
}

// Rows of logits: ordinary ones, and some with spreads that overflow a careless exponential.
template <class T>
std::vector<T> logits(int64_t rows, int64_t cols) {
  std::vector<T> x = normals<T>(rows * cols, 1, 3);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) {
      T& v = x[size_t(r * cols + c)];
      if (r % 5 == 1) v += T(1e4);
      if (r % 5 == 2) v *= T(1e4);
      if (r % 5 == 3) v = T(-0.25);
      if (r % 5 == 4 && c % 3 == 1) v = -infinity<T>;
    }
  return x;
}

}  // namespace

TEST_SUITE("kernels reductions") {
  TEST_CASE_TEMPLATE("sum and sum_squares", T, float, double) {
    for (int64_t n : {0, 1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100, 257, 16384, 16385, 70001, 3000001}) {
      CAPTURE(n);
      const std::vector<T> x = normals<T>(n, 1);
      Real sum = 0, squares = 0;
      for (T v : x) sum += v, squares += Real(v) * v;
      T total;
      double total_squares;
      cpu<T>().sum(n, x.data(), &total);
      cpu<T>().sum_squares(n, x.data(), &total_squares);
      CHECK(std::abs(double(total) - double(sum)) <= 1e-15 * double(n) + epsilon<T> * std::abs(double(sum)));
      CHECK(std::abs(total_squares - double(squares)) <= 1e-14 * double(squares));
    }
    const std::vector<T> large(100, T(1e30)), small(100, std::numeric_limits<T>::denorm_min());
    T total;
    double total_squares;
    cpu<T>().sum_squares(100, large.data(), &total_squares);
    cpu<T>().sum(100, small.data(), &total);
    CHECK(total_squares == doctest::Approx(1e62).epsilon(1e-7));
    CHECK(double(total) == 100 * double(small[0]));
  }

  TEST_CASE_TEMPLATE("column_sum", T, float, double) {
    for (int64_t rows : {0, 1, 2, 3, 4, 5, 65, 300, 2049})
      for (int64_t cols : widths) {
        CAPTURE(rows);
        CAPTURE(cols);
        const std::vector<T> x = normals<T>(rows * cols, 1);
        std::vector<T> y = poisoned<T>(cols);
        cpu<T>().column_sum(rows, cols, x.data(), y.data());
        std::vector<double> want(y.size());
        for (size_t i = 0; i < x.size(); ++i) want[i % want.size()] += x[i];
        check_close(y, want, 4 * epsilon<T>, epsilon<T> * double(rows));
      }
  }

  TEST_CASE_TEMPLATE("row_dot and scale_rows", T, float, double) {
    for (int64_t rows : {0, 1, 3, 300})
      for (int64_t cols : widths) {
        CAPTURE(rows);
        CAPTURE(cols);
        const std::vector<T> a = normals<T>(rows * cols, 1), b = normals<T>(rows * cols, 2), s = normals<T>(rows, 3);
        std::vector<T> dot = poisoned<T>(rows), scaled = poisoned<T>(rows * cols);
        cpu<T>().row_dot(rows, cols, a.data(), b.data(), dot.data());
        cpu<T>().scale_rows(rows, cols, a.data(), s.data(), scaled.data());
        std::vector<double> want(dot.size());
        bool exact = true;
        for (size_t i = 0; i < a.size(); ++i) {
          const size_t r = i / size_t(cols);
          want[r] += double(a[i]) * b[i];
          exact = exact && scaled[i] == s[r] * a[i];
        }
        check_close(dot, want, 4 * epsilon<T>, epsilon<T> * double(cols));
        CHECK(exact);
      }
  }

  TEST_CASE_TEMPLATE("softmax and logsumexp", T, float, double) {
    for (int64_t rows : {0, 1, 7, 300})
      for (int64_t cols : widths) {
        CAPTURE(rows);
        CAPTURE(cols);
        const std::vector<T> x = logits<T>(rows, cols);
        std::vector<T> y = poisoned<T>(rows * cols), total = poisoned<T>(rows);
        cpu<T>().softmax(rows, cols, x.data(), y.data());
        cpu<T>().logsumexp(rows, cols, x.data(), total.data());
        std::vector<double> want, want_total;
        for (int64_t r = 0; r < rows; ++r) {
          const std::vector<Real> row = row_of(x, r, cols);
          const Real row_total = log_sum_exp(row);
          want_total.push_back(double(row_total));
          for (Real v : row) want.push_back(double(std::exp(v - row_total)));
        }
        check_close(y, want, 16 * epsilon<T>, 1e-37);
        check_close(total, want_total, 4 * epsilon<T>, 4 * epsilon<T>);
      }
  }

  TEST_CASE_TEMPLATE("softmax and logsumexp of rows without a largest finite number", T, float, double) {
    const T inf = infinity<T>;
    for (int64_t cols : {1, 3, 16, 37}) {
      CAPTURE(cols);
      std::vector<T> x(size_t(cols), -inf), y(x.size(), T(7));
      T total = 7;
      cpu<T>().softmax(1, cols, x.data(), y.data());
      cpu<T>().logsumexp(1, cols, x.data(), &total);
      for (T v : y) CHECK(std::isnan(v));  // nothing is allowed: there is no distribution to return
      CHECK(total == -inf);
      x.back() = T(-1e30);  // one is allowed, however unlikely
      cpu<T>().softmax(1, cols, x.data(), y.data());
      cpu<T>().logsumexp(1, cols, x.data(), &total);
      CHECK(y.back() == 1);
      CHECK(std::accumulate(y.begin(), y.end(), T(0)) == 1);
      CHECK(total == T(-1e30));
      x.back() = inf;
      cpu<T>().logsumexp(1, cols, x.data(), &total);
      CHECK(total == inf);
      x.back() = nan_of<T>;
      cpu<T>().softmax(1, cols, x.data(), y.data());
      cpu<T>().logsumexp(1, cols, x.data(), &total);
      CHECK(std::isnan(total));
      CHECK(std::isnan(y.front()));
    }
  }

  TEST_CASE_TEMPLATE("softmax_backward", T, float, double) {
    for (int64_t rows : {0, 1, 7, 300})
      for (int64_t cols : widths) {
        CAPTURE(rows);
        CAPTURE(cols);
        const std::vector<T> x = logits<T>(rows, cols), dy = normals<T>(rows * cols, 2);
        std::vector<T> y = poisoned<T>(rows * cols), dx = y;
        cpu<T>().softmax(rows, cols, x.data(), y.data());
        cpu<T>().softmax_backward(rows, cols, y.data(), dy.data(), dx.data());
        std::vector<double> want;
        for (int64_t r = 0; r < rows; ++r) {  // the Jacobian is p_i (delta_ij - p_j)
          const std::vector<Real> p = row_of(y, r, cols), d = row_of(dy, r, cols);
          for (size_t i = 0; i < p.size(); ++i) {
            Real total = 0;
            for (size_t j = 0; j < p.size(); ++j) total += p[i] * ((i == j) - p[j]) * d[j];
            want.push_back(total);
          }
        }
        check_close(dx, want, 8 * epsilon<T>, 8 * epsilon<T>);
      }
  }

  TEST_CASE_TEMPLATE("top_k orders by value, then index, NaN last", T, float, double) {
    for (int64_t rows : {0, 1, 5, 100})
      for (int64_t cols : widths)
        for (int64_t k : {int64_t{0}, int64_t{1}, int64_t{2}, cols / 2, cols - 1, cols}) {
          if (k > cols) continue;
          CAPTURE(rows);
          CAPTURE(cols);
          CAPTURE(k);
          std::vector<T> x = normals<T>(rows * cols, 1, 2);
          for (size_t i = 0; i < x.size(); ++i) {
            const size_t kind = i / size_t(cols) % 4;
            if (kind == 1) x[i] = std::round(x[i]);  // many ties, and zeros of both signs
            if (kind == 2 && i % 3 == 0) x[i] = nan_of<T>;
            if (kind == 3) x[i] = i % 5 == 0 ? nan_of<T> : i % 5 == 1 ? -infinity<T> : infinity<T>;
          }
          std::vector<int32_t> got(size_t(rows * k), -7), want;
          cpu<T>().top_k(rows, cols, k, x.data(), got.data());
          for (int64_t r = 0; r < rows; ++r) {
            const T* row = x.data() + r * cols;
            std::vector<int32_t> order(static_cast<size_t>(cols));
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [&](int32_t i, int32_t j) {
              return row[i] > row[j] || (std::isnan(row[j]) && !std::isnan(row[i]));
            });
            want.insert(want.end(), order.begin(), order.begin() + k);
          }
          CHECK(got == want);
        }
  }
}

TEST_SUITE("kernels normalisation") {
  // y_j = w_j x_j s with s = (mean x^2 + eps)^-1/2, so ds/dx_i = -s^3 x_i / C.
  TEST_CASE_TEMPLATE("rms_norm and its gradients", T, float, double) {
    for (int64_t rows : {0, 1, 3, 300})
      for (int64_t cols : widths) {
        CAPTURE(rows);
        CAPTURE(cols);
        const std::vector<T> x = normals<T>(rows * cols, 1), w = normals<T>(cols, 2), dy = normals<T>(rows * cols, 3);
        std::vector<T> y = poisoned<T>(rows * cols), dx = y, dw = poisoned<T>(cols), inverse = poisoned<T>(rows);
        cpu<T>().rms_norm(rows, cols, 1e-5, x.data(), w.data(), y.data(), inverse.data());
        cpu<T>().rms_norm_backward(rows, cols, x.data(), w.data(), inverse.data(), dy.data(), dx.data(), dw.data());
        std::vector<double> want_y, want_s, want_dx, want_dw(w.size());
        for (int64_t r = 0; r < rows; ++r) {
          const std::vector<Real> v = row_of(x, r, cols), d = row_of(dy, r, cols);
          Real squares = 0, total = 0;
          for (Real e : v) squares += e * e;
          const Real s = 1 / std::sqrt(squares / Real(cols) + 1e-5);
          for (size_t j = 0; j < v.size(); ++j) total += d[j] * w[j] * v[j];
          for (size_t i = 0; i < v.size(); ++i) {
            want_y.push_back(w[i] * v[i] * s);
            want_dx.push_back(d[i] * w[i] * s - total * s * s * s * v[i] / Real(cols));
            want_dw[i] += d[i] * v[i] * s;
          }
          want_s.push_back(s);
        }
        check_close(y, want_y, 4 * epsilon<T>);
        check_close(inverse, want_s, 2 * epsilon<T>);
        // With one column dx is all cancellation: its terms are some 1 / |x| large.
        double largest = 1;
        for (double s : want_s) largest = std::max(largest, s);
        check_close(dx, want_dx, 8 * epsilon<T>, 16 * epsilon<T> * largest);
        check_close(dw, want_dw, 8 * epsilon<T>, 2 * epsilon<T> * double(rows));
      }
  }

  // y_j = w_j (x_j - m) s + b_j; in f64 the gradient is also that of central differences.
  TEST_CASE_TEMPLATE("layer_norm and its gradients", T, float, double) {
    for (int64_t rows : {0, 1, 3, 300})
      for (int64_t cols : widths) {
        CAPTURE(rows);
        CAPTURE(cols);
        const std::vector<T> x = normals<T>(rows * cols, 1), w = normals<T>(cols, 2), b = normals<T>(cols, 4);
        const std::vector<T> dy = normals<T>(rows * cols, 3);
        std::vector<T> y = poisoned<T>(rows * cols), dx = y, dw = poisoned<T>(cols), db = dw;
        std::vector<T> mean = poisoned<T>(rows), inverse = mean;
        cpu<T>().layer_norm(rows, cols, 1e-2, x.data(), w.data(), b.data(), y.data(), mean.data(), inverse.data());
        cpu<T>().layer_norm_backward(rows, cols, x.data(), w.data(), mean.data(), inverse.data(), dy.data(), dx.data(),
                                     dw.data(), db.data());
        const Real C = Real(cols);
        std::vector<double> want_y, want_m, want_s, want_dx, want_dw(w.size()), want_db(w.size());
        for (int64_t r = 0; r < rows; ++r) {
          const std::vector<Real> v = row_of(x, r, cols), d = row_of(dy, r, cols);
          const Real m = std::accumulate(v.begin(), v.end(), Real(0)) / C;
          Real squares = 0, along = 0, direct = 0;
          for (Real e : v) squares += (e - m) * (e - m);
          const Real s = 1 / std::sqrt(squares / C + 1e-2);
          for (size_t j = 0; j < v.size(); ++j) along += d[j] * w[j] * (v[j] - m), direct += d[j] * w[j];
          for (size_t i = 0; i < v.size(); ++i) {  // dm/dx_i = 1/C, ds/dx_i = -s^3 (x_i - m) / C
            want_y.push_back(w[i] * (v[i] - m) * s + b[i]);
            want_dx.push_back(s * (d[i] * w[i] - direct / C) - s * s * s * (v[i] - m) * along / C);
            want_dw[i] += d[i] * (v[i] - m) * s;
            want_db[i] += d[i];
          }
          want_m.push_back(m), want_s.push_back(s);
        }
        check_close(y, want_y, 4 * epsilon<T>, 16 * epsilon<T>);
        check_close(mean, want_m, epsilon<T>, epsilon<T>);
        check_close(inverse, want_s, 4 * epsilon<T>);
        check_close(dx, want_dx, 8 * epsilon<T>, 160 * epsilon<T>);
        check_close(dw, want_dw, 8 * epsilon<T>, 4 * epsilon<T> * double(rows + 4));
        check_close(db, want_db, 8 * epsilon<T>, 2 * epsilon<T> * double(rows));
      }
  }

  TEST_CASE_TEMPLATE("norms of huge, tiny, zero and constant rows", T, float, double) {
    const int64_t cols = 33;
    const std::vector<T> one(cols, T(1)), zero(cols, T(0));
    for (T size : {T(1e30), T(-1e30), T(1e-30)}) {
      const std::vector<T> x(cols, size);
      std::vector<T> y = poisoned<T>(cols);
      T inverse = nan_of<T>, mean = nan_of<T>;
      cpu<T>().rms_norm(1, cols, 0, x.data(), one.data(), y.data(), &inverse);
      check_close(y, std::vector<double>(cols, size > 0 ? 1 : -1), 2 * epsilon<T>);
      cpu<T>().layer_norm(1, cols, 1e-5, x.data(), one.data(), one.data(), y.data(), &mean, &inverse);
      check_close(y, std::vector<double>(cols, 1.0), 0);
      CHECK(mean == doctest::Approx(size));
    }
    std::vector<T> y = poisoned<T>(cols);
    T inverse = nan_of<T>;
    cpu<T>().rms_norm(1, cols, 1e-6, zero.data(), one.data(), y.data(), &inverse);
    CHECK(y == zero);
    CHECK(double(inverse) == doctest::Approx(1e3));
  }
}

TEST_SUITE("kernels loss") {
  TEST_CASE_TEMPLATE("cross_entropy and its gradient", T, float, double) {
    for (int64_t rows : {0, 1, 7, 300})
      for (int64_t V : widths) {
        CAPTURE(rows);
        CAPTURE(V);
        const std::vector<T> x = logits<T>(rows, V), g = normals<T>(rows, 3);
        std::vector<int32_t> target;
        for (int64_t r = 0; r < rows; ++r) target.push_back(r % 4 == 3 ? -1 : int32_t((r * 31) % V));
        std::vector<T> loss = poisoned<T>(rows), total = loss, dx = poisoned<T>(rows * V);
        cpu<T>().cross_entropy(rows, V, x.data(), target.data(), loss.data(), total.data());
        std::vector<double> want, want_total, want_dx;
        for (int64_t r = 0; r < rows; ++r) {
          const std::vector<Real> row = row_of(x, r, V);
          const int32_t t = target[size_t(r)];
          const Real row_total = log_sum_exp(row);
          want_total.push_back(double(row_total));
          want.push_back(t < 0 ? 0 : double(row_total - row[size_t(t)]));
        }
        check_close(loss, want, 8 * epsilon<T>, 4 * epsilon<T>);
        check_close(total, want_total, 4 * epsilon<T>, 4 * epsilon<T>);
        // The backward is told logsumexp, rounded: at 1e4, half a unit of it is a relative error of 5e-4 in f32.
        cpu<T>().cross_entropy_backward(rows, V, x.data(), target.data(), total.data(), g.data(), dx.data());
        for (int64_t r = 0; r < rows; ++r) {
          const std::vector<Real> row = row_of(x, r, V);
          for (int64_t c = 0; c < V; ++c) {
            const Real p = std::exp(row[size_t(c)] - total[size_t(r)]);
            const int32_t t = target[size_t(r)];
            want_dx.push_back(t < 0 ? 0 : g[size_t(r)] * (p - (c == t)));
          }
        }
        check_close(dx, want_dx, 16 * epsilon<T>, 8 * epsilon<T>);
      }
  }
}

TEST_SUITE("kernels threads") {
  TEST_CASE_TEMPLATE("row kernels: the same bits for any number of threads", T, float, double) {
    const int64_t rows = 700, cols = 257, n = rows * cols;
    const std::vector<T> x = normals<T>(n, 1), dy = normals<T>(n, 2), w = normals<T>(cols, 3);
    check_same_for_any_threads([&] {
      T total;
      std::vector<double> sums(2);
      cpu<T>().sum(n, x.data(), &total);
      cpu<T>().sum_squares(n, x.data(), &sums[1]);
      sums[0] = double(total);
      return sums;
    });
    check_same_for_any_threads([&] {
      std::vector<T> y = poisoned<T>(cols + 2 * rows + 3 * n);
      cpu<T>().column_sum(rows, cols, x.data(), y.data());
      cpu<T>().row_dot(rows, cols, x.data(), dy.data(), y.data() + cols);
      cpu<T>().logsumexp(rows, cols, x.data(), y.data() + cols + rows);
      T* rest = y.data() + cols + 2 * rows;
      cpu<T>().softmax(rows, cols, x.data(), rest);
      cpu<T>().softmax_backward(rows, cols, rest, dy.data(), rest + n);
      cpu<T>().scale_rows(rows, cols, x.data(), dy.data(), rest + 2 * n);
      return y;
    });
    check_same_for_any_threads([&] {
      std::vector<int32_t> index(size_t(rows * 9), -1);
      cpu<T>().top_k(rows, cols, 9, x.data(), index.data());
      return index;
    });
    check_same_for_any_threads([&] {
      std::vector<T> y = poisoned<T>(2 * n + cols + rows);
      T *dx = y.data() + n, *dw = dx + n, *inverse = dw + cols;
      cpu<T>().rms_norm(rows, cols, 1e-5, x.data(), w.data(), y.data(), inverse);
      cpu<T>().rms_norm_backward(rows, cols, x.data(), w.data(), inverse, dy.data(), dx, dw);
      return y;
    });
    check_same_for_any_threads([&] {
      std::vector<T> y = poisoned<T>(2 * n + 2 * cols + 2 * rows);
      T *dx = y.data() + n, *dw = dx + n, *db = dw + cols, *mean = db + cols, *inverse = mean + rows;
      cpu<T>().layer_norm(rows, cols, 1e-5, x.data(), w.data(), w.data(), y.data(), mean, inverse);
      cpu<T>().layer_norm_backward(rows, cols, x.data(), w.data(), mean, inverse, dy.data(), dx, dw, db);
      return y;
    });
    check_same_for_any_threads([&] {
      std::vector<int32_t> target(size_t(rows), 3);
      std::vector<T> y = poisoned<T>(n + 2 * rows);
      cpu<T>().cross_entropy(rows, cols, x.data(), target.data(), y.data() + n, y.data() + n + rows);
      cpu<T>().cross_entropy_backward(rows, cols, x.data(), target.data(), y.data() + n + rows, dy.data(), y.data());
      return y;
    });
  }
}
