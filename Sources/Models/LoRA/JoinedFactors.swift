import Checkpoints
import Diagnostics
import Tensors

/// A or B as it is saved if its initial value is subtracted: [A; A₀] and [B, −B₀], whose product is B A − B₀ A₀.
struct JoinedFactor {
  enum Side { case a, b }

  let side: Side
  /// A₀ or B₀.
  let initial: Tensor
  let backend: any Backend

  /// The shape as saved.
  var shape: [Int] {
    side == .a ? [2 * initial.rows, initial.columns] : [initial.rows, 2 * initial.columns]
  }

  /// The factor as it is saved.
  func joined(_ value: Tensor) -> Tensor {
    let all = backend.empty(shape, .float32)
    copy(value, to: all, second: false)
    copy(side == .a ? initial : backend.scaled(initial, -1), to: all, second: true)
    return all
  }

  /// The trained half of a saved factor.
  func trained(_ saved: Tensor) -> Tensor { half(of: saved, second: false) }

  /// Sets the initial value to that of a saved factor.
  func restoreInitial(from saved: Tensor) {
    let value = half(of: saved, second: true)
    if side == .b { backend.scale(value, by: -1) }
    backend.copyRows(Columns(value), 0, to: Columns(initial), 0, count: value.rows)
  }

  private func copy(_ value: Tensor, to all: Tensor, second: Bool) {
    switch side {
    case .a: backend.copyRows(Columns(value), 0, to: Columns(all), second ? value.rows : 0, count: value.rows)
    case .b:
      let first = second ? value.columns : 0
      backend.copyRows(Columns(value), 0, to: Columns(all, first..<first + value.columns), 0, count: value.rows)
    }
  }

  private func half(of saved: Tensor, second: Bool) -> Tensor {
    let value = backend.empty(initial.shape, .float32)
    switch side {
    case .a: backend.copyRows(Columns(saved), second ? value.rows : 0, to: Columns(value), 0, count: value.rows)
    case .b:
      let first = second ? value.columns : 0
      backend.copyRows(Columns(saved, first..<first + value.columns), 0, to: Columns(value), 0, count: value.rows)
    }
    return value
  }
}

extension Adapter {
  /// The factors whose saved form differs, by the name of the parameter.
  var joinedFactors: [String: JoinedFactor] {
    var joined: [String: JoinedFactor] = [:]
    for update in updates {
      guard let initial = update.initial else { continue }
      joined[update.a.name] = JoinedFactor(side: .a, initial: initial.a, backend: backend)
      joined[update.b.name] = JoinedFactor(side: .b, initial: initial.b, backend: backend)
    }
    return joined
  }

  /// Reads trained parameters that `write` saved, in order to resume a run.
  /// - Throws: `SwiftletError` if one is missing or has another shape.
  package func restore(from file: SafetensorsCheckpoint, folder: String) throws(SwiftletError) {
    defer { parametersChanged() }
    let joined = joinedFactors
    for parameter in parameters {
      let name = Self.fileName(of: parameter)
      let factor = joined[parameter.name]
      guard let saved = file.tensor(named: name), saved.type == .float32,
        saved.shape == factor?.shape ?? parameter.value.shape
      else {
        throw SwiftletError.training(
          "\(folder): the float32 tensor \(name) is missing or has another shape; resume with the same base model and "
            + "settings")
      }
      factor?.restoreInitial(from: saved)
      let value = factor?.trained(saved) ?? saved
      let matrix = [1, value.count]
      backend.copyRows(
        Columns(value.reshaped(matrix)), 0, to: Columns(parameter.value.reshaped(matrix)), 0, count: 1)
    }
  }
}
