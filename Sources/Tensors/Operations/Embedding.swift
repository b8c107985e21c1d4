extension Tape {
  /// Looks up token embeddings: the rows `ids` of `table` `[vocabulary, hidden]`, times `scale`. The result is
  /// `[ids.count, hidden]`. Ids must be less than the vocabulary's size.
  public func embedding(_ ids: [Int32], _ table: Parameter, scale: Float = 1) -> Variable {
    var value = backend.gatherRows(table.value, ids)
    table.replacement?.replace(in: value, ids, on: backend)
    if scale != 1 { value = backend.scaled(value, scale) }
    let output = Variable(value, requiresGradient: isRecording && table.hasTrainableRows)
    if output.requiresGradient {
      let slot = output.slot
      record { [backend] in
        guard let upstream = slot.take() else { return }
        let gradient = scale == 1 ? upstream : backend.scaled(upstream, scale)
        if table.isTrainable { backend.scatterAddRows(gradient, ids, into: table.gradient(on: backend)) }
        table.replacement?.addGradient(gradient, ids, on: backend)
      }
    }
    return output
  }
}
