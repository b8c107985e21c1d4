import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix

/// A request as the server saw it.
struct Request: Sendable {
  let method: HTTPMethod
  let uri: String
  let headers: HTTPHeaders

  var path: String { String(uri.prefix { $0 != "?" }) }
}

/// What the server does with a request.
struct Answer: Sendable {
  var status = HTTPResponseStatus.ok
  var headers: [(String, String)] = []
  var body: [UInt8] = []
  /// Bytes of the body after which the connection is cut.
  var cut: Int?
  /// Bytes of the body after which nothing more is sent.
  var stall: Int?
  /// Whether the length of the body is announced.
  var announcesLength = true

  static func text(_ text: String, status: HTTPResponseStatus = .ok) -> Answer {
    Answer(status: status, body: Array(text.utf8))
  }

  static func status(_ status: HTTPResponseStatus, _ headers: [(String, String)] = []) -> Answer {
    Answer(status: status, headers: headers)
  }
}

/// An HTTP server on the loopback address that does as it is told and remembers what it was asked.
final class LoopbackServer: Sendable {
  let address: String
  private let channel: any Channel
  private let log: NIOLockedValueBox<[Request]>

  init(_ answer: @escaping @Sendable (Request) -> Answer) async throws {
    let log = NIOLockedValueBox<[Request]>([])
    channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(
            Handler { request in
              log.withLockedValue { $0.append(request) }
              return answer(request)
            })
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    self.log = log
    address = "http://127.0.0.1:\(channel.localAddress?.port ?? 0)"
  }

  /// The requests so far.
  var requests: [Request] { log.withLockedValue { $0 } }

  func forget() { log.withLockedValue { $0 = [] } }

  func stop() async { try? await channel.close() }

  deinit { channel.close(promise: nil) }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let answer: @Sendable (Request) -> Answer
    private var request: Request?

    init(answer: @escaping @Sendable (Request) -> Answer) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): request = Request(method: head.method, uri: head.uri, headers: head.headers)
      case .body: break
      case .end:
        guard let request else { return }
        respond(answer(request), to: request, context: context)
      }
    }

    private func respond(_ answer: Answer, to request: Request, context: ChannelHandlerContext) {
      var head = HTTPResponseHead(version: .http1_1, status: answer.status, headers: HTTPHeaders(answer.headers))
      if answer.announcesLength, !head.headers.contains(name: "Content-Length") {
        head.headers.add(name: "Content-Length", value: "\(answer.body.count)")
      }
      context.write(wrapOutboundOut(.head(head)), promise: nil)
      let sent = answer.cut ?? answer.stall ?? answer.body.count
      if request.method != .HEAD {
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: answer.body.prefix(sent))))), promise: nil)
      }
      if answer.stall != nil {
        context.flush()
      } else if answer.cut != nil {
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.flush()
        // Late enough for the client to have read what was sent before it notices the cut.
        context.eventLoop.scheduleTask(in: .milliseconds(100)) { bound.value.close(promise: nil) }
      } else {
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      }
    }
  }
}
