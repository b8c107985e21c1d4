import Checkpoints
import Diagnostics
import Tensors

/// The form in which A or B is saved, if it isn't the one that is trained.
protocol SavedFactor {
  /// The shape as saved.
  var shape: [Int] { get }
  /// The factor as it is saved.
  func saved(_ value: Tensor) -> Tensor
  /// What is trained of a saved factor.
  func trained(_ saved: Tensor) -> Tensor
  /// Takes from a saved factor what training doesn't change.
  func restoreInitial(from saved: Tensor)
}

/// B of all experts: trained as `[experts · out, rank]`, saved as `[out, rank · experts]`, where column k · experts + e is
/// column k of expert e.
struct StackedFactor: SavedFactor {
  let experts: Int
  let outputs: Int
  let rank: Int
  /// For each row of an expert as trained, the one as saved; `nil` if it is the same.
  let rowOrder: [Int]?
  let backend: any Backend

  var shape: [Int] { [outputs, rank * experts] }
  var trainedShape: [Int] { [experts * outputs, rank] }

  func saved(_ value: Tensor) -> Tensor { reordered(value, shape) { ($1, $0) } }
  func trained(_ saved: Tensor) -> Tensor { reordered(saved, trainedShape) { ($0, $1) } }
  func restoreInitial(from saved: Tensor) {}

  /// - Parameter places: from the indices of an element as trained and as saved, the one to write and the one to read.
  private func reordered(
    _ value: Tensor, _ shape: [Int], _ places: (_ trained: Int, _ saved: Int) -> (to: Int, from: Int)
  ) -> Tensor {
    let values = backend.floats(value)
    var result = values
    for expert in 0..<experts {
      for output in 0..<outputs {
        let row = rowOrder?[output] ?? output
        for k in 0..<rank {
          let place = places((expert * outputs + output) * rank + k, (row * rank + k) * experts + expert)
          result[place.to] = values[place.from]
        }
      }
    }
    return backend.tensor(result, shape)
  }
}

/// A or B as it is saved if its initial value is subtracted: [A; A₀] and [B, −B₀], whose product is B A − B₀ A₀.
struct JoinedFactor: SavedFactor {
  enum Side { case a, b }

  let side: Side
  /// A₀ or B₀.
  let initial: Tensor
  let backend: any Backend

  var shape: [Int] {
    side == .a ? [2 * initial.rows, initial.columns] : [initial.rows, 2 * initial.columns]
  }

  func saved(_ value: Tensor) -> Tensor {
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

/// A of a layer whose weight has the columns of its input in another order.
struct ReorderedFactor: SavedFactor {
  let shape: [Int]
  let order: ColumnOrder
  let backend: any Backend

  func saved(_ value: Tensor) -> Tensor { backend.reorderedColumns(value, order.inverse) }
  func trained(_ saved: Tensor) -> Tensor { backend.reorderedColumns(saved, order) }
  func restoreInitial(from saved: Tensor) {}
}

extension Adapter {
  /// The factors whose saved form differs, by the name of the parameter.
  private var savedFactors: [String: any SavedFactor] {
    var factors: [String: any SavedFactor] = [:]
    for (layer, update) in zip(layers, updates) {
      if let initial = update.initial {
        factors[update.a.name] = JoinedFactor(side: .a, initial: initial.a, backend: backend)
        factors[update.b.name] = JoinedFactor(side: .b, initial: initial.b, backend: backend)
      } else if let order = layer.columnOrder {
        // Only weights with blocks have one, which can't be initial factors' base.
        factors[update.a.name] = ReorderedFactor(shape: update.a.value.shape, order: order, backend: backend)
      }
    }
    for update in expertUpdates { factors[update.b.name] = update.savedB }
    return factors
  }

  /// What `adapter_model.safetensors` has of A and B.
  var savedUpdates: [TensorSource] {
    let factors = savedFactors
    return (updates.flatMap(\.parameters) + expertUpdates.flatMap(\.parameters)).map { parameter in
      let factor = factors[parameter.name]
      return TensorSource(name: parameter.name, type: .float32, shape: factor?.shape ?? parameter.value.shape) {
        factor?.saved(parameter.value) ?? parameter.value
      }
    }
  }

  /// A trained parameter, or its gradient, as it is saved.
  package func saved(_ value: Tensor, of parameter: Parameter) -> Tensor {
    savedFactors[parameter.name]?.saved(value) ?? value
  }

  /// Reads trained parameters that `write` saved, in order to resume a run.
  /// - Throws: `SwiftletError` if one is missing or has another shape.
  package func restore(from file: SafetensorsCheckpoint, folder: String) throws(SwiftletError) {
    defer { parametersChanged() }
    let factors = savedFactors
    for parameter in parameters {
      let name = Self.fileName(of: parameter)
      let factor = factors[parameter.name]
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
