package qupath.lib.io

import groovy.json.JsonSlurper

// Takes nothing but what QuPath's documentation says of its GeoJSON.
class PathIO {
    static List readObjects(File file) {
        def read = new JsonSlurper().parse(file, "UTF-8")
        assert read.type == "FeatureCollection"
        read.features.each { one ->
            assert one.type == "Feature" && UUID.fromString(one.id)
            def parts = one.geometry.coordinates
            if (one.geometry.type == "Polygon") parts = [parts]
            else assert one.geometry.type == "MultiPolygon"
            parts.each { rings -> rings.each { ring ->
                assert ring.size() >= 4 && ring.first() == ring.last()
                assert ring.every { it.size() == 2 && it.every { v -> v instanceof Number } }
            } }
            assert one.properties.objectType in ["detection", "annotation", "cell", "tile"]
            def kind = one.properties.classification
            assert kind.name && kind.color.size() == 3 && kind.color.every { it in 0..255 }
            assert one.properties.measurements.every { name, value -> value instanceof Number }
        }
        read.features
    }
}
