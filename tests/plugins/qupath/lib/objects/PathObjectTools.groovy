package qupath.lib.objects

import java.awt.geom.AffineTransform
import java.awt.geom.Point2D

class PathObjectTools {
    static Object transformObject(Object object, AffineTransform by, boolean copyMeasurements) {
        def move
        move = { part -> part[0] instanceof Number
            ? by.transform(new Point2D.Double(part[0], part[1]), null).with { [it.x, it.y] }
            : part.collect(move) }
        def said = copyMeasurements ? object.properties : object.properties - [measurements: null]
        [*: object, properties: said, geometry: [*: object.geometry, coordinates: move(object.geometry.coordinates)]]
    }
}
