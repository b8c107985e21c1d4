import Diagnostics

/// Decides which scope owns each name, by the rules of Jinja2's compiler: a scope owns the names that it assigns
/// anywhere, initialized with their outer values. A name that a scope assigns before it reads it starts undefined, even
/// if a variable of that name was passed in.
struct ScopeResolver {
  private let syntax: Syntax
  private(set) var scopes: [Scope]
  private(set) var functions: [Function]
  private var slots: [ScopedName: Int] = [:]

  private struct ScopedName: Hashable {
    let scope: Int
    let name: Int
  }

  /// A variable of a function.
  private struct Slot: Hashable {
    let function: Int
    let index: Int
  }

  private enum Load {
    case parameter
    case resolve(Int)
    case copy(Slot)
    case undefined
  }

  /// The names of a scope while it is being resolved.
  private struct Symbols {
    let scope: Int
    let function: Int
    /// The enclosing functions with their depths.
    let functionDepths: [Int: Int]
    /// The names of the outer scopes.
    let outer: [Int: Slot]
    var own: [Int: Slot] = [:]
    var loads: [Slot: Load] = [:]
    var stored: Set<Int> = []

    func find(_ name: Int) -> Slot? { own[name] ?? outer[name] }
    var visible: [Int: Slot] { outer.merging(own) { $1 } }
  }

  init(_ syntax: Syntax) {
    self.syntax = syntax
    scopes = Array(repeating: Scope(places: [], entries: []), count: syntax.scopeCount)
    functions = Array(repeating: Function(), count: syntax.functionCount)
  }

  /// Fills `scopes` and `functions`.
  /// - Throws: for unknown filters and tests, where Jinja2 detects them before rendering.
  mutating func resolve() throws(SwiftletError) {
    var symbols = Symbols(scope: syntax.body.scope, function: 0, functionDepths: [0: 0], outer: [:])
    note(syntax.body.statements, in: &symbols)
    try finish(syntax.body.statements, symbols)
  }

  // MARK: Names used in a scope

  private mutating func define(_ name: Int, _ load: Load, in symbols: inout Symbols) {
    let key = ScopedName(scope: symbols.scope, name: name)
    let index: Int
    if let known = slots[key] {
      index = known
    } else {
      index = functions[symbols.function].variableCount
      functions[symbols.function].variableCount += 1
      slots[key] = index
    }
    let slot = Slot(function: symbols.function, index: index)
    symbols.own[name] = slot
    symbols.loads[slot] = load
  }

  private mutating func read(_ name: Int, in symbols: inout Symbols) {
    if symbols.find(name) == nil { define(name, .resolve(name), in: &symbols) }
  }

  private mutating func store(_ name: Int, in symbols: inout Symbols) {
    symbols.stored.insert(name)
    guard symbols.own[name] == nil else { return }
    define(name, symbols.outer[name].map { .copy($0) } ?? .undefined, in: &symbols)
  }

  private mutating func declareParameter(_ name: Int, in symbols: inout Symbols) {
    symbols.stored.insert(name)
    define(name, .parameter, in: &symbols)
  }

  private mutating func store(_ target: Statement.Target, asParameter: Bool = false, in symbols: inout Symbols) {
    switch target {
    case .name(let name):
      if asParameter { declareParameter(name, in: &symbols) } else { store(name, in: &symbols) }
    case .attribute(let name, _): read(name, in: &symbols)
    case .tuple(let parts): for part in parts { store(part, asParameter: asParameter, in: &symbols) }
    }
  }

  private mutating func read(_ expressions: [Expression?], in symbols: inout Symbols) {
    for expression in expressions {
      expression?.forEachName { name in read(name, in: &symbols) }
    }
  }

  private mutating func note(_ statements: [Statement], in symbols: inout Symbols) {
    for statement in statements {
      switch statement.node {
      case .text, .block, .generation, .breakLoop, .continueLoop, .load: break
      case .output(let value): read([value], in: &symbols)
      case .assign(let target, let value):
        read([value], in: &symbols)
        store(target, in: &symbols)
      case .assignBlock(let target, let filter, _):
        store(target, in: &symbols)
        read([filter], in: &symbols)
      case .branch(let branches, let otherwise): note(branches[...], otherwise, in: &symbols)
      case .loop(let loop): read([loop.iterable], in: &symbols)
      case .macro(let name, _): store(name, in: &symbols)
      case .callBlock(let call, _): read([call], in: &symbols)
      case .filterBlock(let filter, _): read([filter], in: &symbols)
      case .with(let bindings, _): read(bindings.map(\.value), in: &symbols)
      }
    }
  }

  private mutating func note(
    _ branches: ArraySlice<Statement.Branch>, _ otherwise: [Statement], in symbols: inout Symbols
  ) {
    guard let first = branches.first else { return }
    read([first.test], in: &symbols)
    var body = symbols
    note(first.body, in: &body)
    var middle = symbols
    for branch in branches.dropFirst() { note([branch], [], in: &middle) }
    var last = symbols
    note(otherwise, in: &last)
    let stored = body.stored.union(middle.stored).union(last.stored).subtracting(symbols.stored)
    for branch in [body, middle, last] {
      symbols.own.merge(branch.own) { $1 }
      symbols.loads.merge(branch.loads) { $1 }
      symbols.stored.formUnion(branch.stored)
    }
    // A name that only some branches assign keeps its outer value in the others.
    for name in stored {
      guard let slot = symbols.find(name) else { continue }
      symbols.loads[slot] = symbols.outer[name].map { .copy($0) } ?? .resolve(name)
    }
  }

  // MARK: Inner scopes

  private func inner(_ scope: Int, function: Int? = nil, of symbols: Symbols) -> Symbols {
    var depths = symbols.functionDepths
    let function = function ?? symbols.function
    if depths[function] == nil { depths[function] = depths.count }
    return Symbols(scope: scope, function: function, functionDepths: depths, outer: symbols.visible)
  }

  private func place(_ slot: Slot, from symbols: Symbols) -> Place {
    let depth = symbols.functionDepths[symbols.function] ?? 0
    return Place(hops: depth - (symbols.functionDepths[slot.function] ?? 0), index: slot.index)
  }

  private mutating func finish(_ statements: [Statement], _ symbols: Symbols) throws(SwiftletError) {
    record(symbols)
    try enterScopes(in: statements, symbols, isSoft: false)
  }

  private mutating func record(_ symbols: Symbols) {
    var places = [Place?](repeating: nil, count: syntax.names.count)
    for (name, slot) in symbols.visible { places[name] = place(slot, from: symbols) }
    var entries: [(index: Int, entry: Scope.Entry)] = []
    for (slot, load) in symbols.loads {
      switch load {
      case .parameter: break
      case .resolve(let name): entries.append((slot.index, .resolve(name: name)))
      case .copy(let outer): entries.append((slot.index, .copy(place(outer, from: symbols))))
      case .undefined: entries.append((slot.index, .undefined))
      }
    }
    scopes[symbols.scope] = Scope(places: places, entries: entries)
  }

  private mutating func finishInner(_ body: Statement.Body, _ symbols: Symbols) throws(SwiftletError) {
    var scope = inner(body.scope, of: symbols)
    note(body.statements, in: &scope)
    try finish(body.statements, scope)
  }

  /// Inside an `if`, where `isSoft` is true, an unknown filter is an error only when it is reached.
  private mutating func enterScopes(
    in statements: [Statement], _ symbols: Symbols, isSoft: Bool
  ) throws(SwiftletError) {
    for statement in statements {
      let line = statement.line
      switch statement.node {
      case .text, .breakLoop, .continueLoop, .load: break
      case .output(let value), .assign(_, let value): try value.checkNames(isSoft: isSoft, line: line)
      case .assignBlock(_, let filter, let body):
        try filter?.checkNames(isSoft: false, line: line)
        try finishInner(body, symbols)
      case .branch(let branches, let otherwise):
        for branch in branches { try enterScopes(in: branch.body, symbols, isSoft: true) }
        try enterScopes(in: otherwise, symbols, isSoft: true)
      case .loop(let loop):
        try loop.iterable.checkNames(isSoft: isSoft, line: line)
        try loop.test?.checkNames(isSoft: false, line: line)
        try finish(loop, symbols)
      case .macro(_, let macro), .generation(let macro): try finish(macro, line: line, symbols)
      case .callBlock(let call, let macro):
        try call.checkNames(isSoft: isSoft, line: line)
        try finish(macro, line: line, symbols)
      case .filterBlock(let filter, let body):
        try filter.checkNames(isSoft: false, line: line)
        try finishInner(body, symbols)
      case .with(let bindings, let body):
        var scope = inner(body.scope, of: symbols)
        for binding in bindings {
          try binding.value.checkNames(isSoft: isSoft, line: line)
          store(binding.target, asParameter: true, in: &scope)
        }
        note(body.statements, in: &scope)
        try finish(body.statements, scope)
      case .block(_, let function, let body):
        var scope = Symbols(scope: body.scope, function: function, functionDepths: [function: 0], outer: [:])
        note(body.statements, in: &scope)
        try finish(body.statements, scope)
      }
    }
  }

  private mutating func finish(_ loop: Statement.Loop, _ symbols: Symbols) throws(SwiftletError) {
    if let test = loop.test {
      var scope = inner(loop.testScope, function: loop.recursiveFunction, of: symbols)
      store(loop.target, asParameter: true, in: &scope)
      read([test], in: &scope)
      record(scope)
    }
    var scope = inner(loop.body.scope, function: loop.recursiveFunction, of: symbols)
    if let name = syntax.names.firstIndex(of: "loop") { declareParameter(name, in: &scope) }
    store(loop.target, asParameter: true, in: &scope)
    note(loop.body.statements, in: &scope)
    try finish(loop.body.statements, scope)
    if let otherwise = loop.otherwise {
      var scope = inner(otherwise.scope, function: loop.recursiveFunction, of: symbols)
      note(otherwise.statements, in: &scope)
      try finish(otherwise.statements, scope)
    }
  }

  private mutating func finish(
    _ macro: Statement.Macro, line: Int, _ symbols: Symbols
  ) throws(SwiftletError) {
    var scope = inner(macro.body.scope, function: macro.function, of: symbols)
    for parameter in macro.parameters { declareParameter(parameter, in: &scope) }
    for value in macro.defaults { try value.checkNames(isSoft: false, line: line) }
    read(macro.defaults, in: &scope)
    note(macro.body.statements, in: &scope)
    var special = SpecialNames(names: syntax.names)
    special.visit(macro.body.statements)
    for name in special.mentioned where !macro.parameters.contains(name) {
      declareParameter(name, in: &scope)
      let index = scope.own[name]?.index
      switch syntax.names[name] {
      case "caller": functions[macro.function].caller = index
      case "kwargs": functions[macro.function].namedRest = index
      default: functions[macro.function].positionalRest = index
      }
    }
    try finish(macro.body.statements, scope)
  }
}
