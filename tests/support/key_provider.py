"""A gRPC key provider: wraps layer keys in a way that anybody can undo, and writes down what it was asked.

Usage: key_provider.py SOCKET LOG; prints its port, serves there and on the unix socket.
"""

import base64
import json
import sys
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "keyprovider"
SERVICE = PACKAGE + ".KeyProviderService"


def messages():
    """The two messages of keyprovider.proto: one field of bytes each."""
    file = descriptor_pb2.FileDescriptorProto(name="keyprovider.proto", package=PACKAGE, syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    names = ["keyProviderKeyWrapProtocolInput", "keyProviderKeyWrapProtocolOutput"]
    for name in names:
        message = file.message_type.add(name=name)
        message.field.add(name=name[0].upper() + name[1:], number=1, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return [factory.GetPrototype(pool.FindMessageTypeByName(PACKAGE + "." + name)) for name in names]


def turned(text):
    data = base64.b64decode(text)
    return base64.b64encode(bytes(byte ^ 0x55 for byte in reversed(data))).decode()


def answer(operation, request):
    assert request["op"] == operation, request
    if operation == "keywrap":
        return {"keywrapresults": {"annotation": turned(request["keywrapparams"]["optsdata"])}}
    return {"keyunwrapresults": {"optsdata": turned(request["keyunwrapparams"]["annotation"])}}


def main(socket, log):
    taken, given = messages()

    def method(operation):
        def serve(message, _context):
            request = json.loads(message.KeyProviderKeyWrapProtocolInput)
            with open(log, "a", encoding="utf-8") as file:
                file.write(json.dumps(request) + "\n")
            reply = json.dumps(answer(operation, request)).encode()
            return given(KeyProviderKeyWrapProtocolOutput=reply)

        return grpc.unary_unary_rpc_method_handler(
            serve, request_deserializer=taken.FromString, response_serializer=given.SerializeToString
        )

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    handlers = {"WrapKey": method("keywrap"), "UnWrapKey": method("keyunwrap")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_insecure_port("unix:" + socket)
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


main(*sys.argv[1:])
